"""Open MPI's files of shared memory: what killed runs left is removed. Knows the names of these files only, no MPI.

A rank's file is SEGMENT.HOST[.UID].JOB.RANK in /dev/shm. Its ranks map it as long as they live; where they are killed,
nobody removes it.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SETTLED_S = 60.0
"""A file that is younger may belong to a rank that has not mapped it yet."""


def remove_leftovers(
    folder: Path = Path("/dev/shm"), proc: Path = Path("/proc"), settled_s: float = SETTLED_S
) -> list[Path]:
    """Remove files of shared memory that this user's ranks of this host have left, and no process maps any more; those
    that were removed. Where it cannot be told who maps what, none."""
    removed = []
    with suppress(OSError):
        old = list(_old_segments(folder, settled_s))
        used = _maps(proc) if old else ""
        for path in old:
            if f"{path}\n" not in used:
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def _old_segments(folder: Path, settled_s: float) -> Iterator[Path]:
    host, user = re.escape(socket.gethostname()), os.getuid()
    name = re.compile(rf"(sm|vader)_segment\.{host}(\.{user})?\.[0-9a-f]+\.\d+")
    for entry in os.scandir(folder):
        if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            facts = entry.stat(follow_symlinks=False)
            if facts.st_uid == user and time.time() - max(facts.st_mtime, facts.st_ctime) >= settled_s:
                yield folder / entry.name


def _maps(proc: Path) -> str:
    """What all processes of this user map. Raises OSError where there is no such list.

    A few, such as the first of a container, keep theirs to themselves. Even if one were a rank, it would lose nothing:
    a file that is removed stays with those who have mapped it.
    """
    texts = []
    for process in proc.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if process.name.isdigit() and process.stat().st_uid == os.getuid():
                texts.append((process / "maps").read_text(encoding="utf-8", errors="replace"))
    return "".join(texts)
