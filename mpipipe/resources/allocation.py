"""Hosts that a launcher may use but gave no rank, while others got several: found on rank 0's host, without MPI.

Open MPI fills the slots of one host before it goes on to the next, and counts a host's cores where a hostfile has no
slots. Ranks do not see the hostfile, but the launcher's command line names it.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mpipipe.launcher import LAUNCHERS, launched_rank
from mpipipe.resources.cluster import Cluster

FILE_OPTIONS = re.compile(r"--?(?:hostfile|machinefile|default-hostfile)|-f")
HOST_OPTIONS = re.compile(r"--?host|-H|--?hosts")


def listed_hosts(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """The hosts that the launcher's command line names, in order; none where it is not on this host or names none."""
    names: list[str] = []
    with suppress(OSError, ValueError):
        launcher = _launcher(proc) if launched_rank() is not None else None
        if launcher is not None:
            words = (launcher / "cmdline").read_bytes().decode(errors="replace").split("\0")
            for option, value in _options(words):
                if FILE_OPTIONS.fullmatch(option):
                    names += _names_in(launcher / "cwd" / value)
                elif HOST_OPTIONS.fullmatch(option):
                    names += [_name(entry) for entry in value.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def idle_notices(cluster: Cluster, listed: Sequence[str]) -> list[str]:
    """What to know, and to type, where hosts of the list have no rank and others have several."""
    ranks = Counter(host.name for host in cluster.hosts)
    several = [f"{count} on {name}" for name, count in ranks.items() if count > 1]
    idle = len(listed) - len(ranks)
    if idle < 1 or not several:
        return []
    known = {name for host in cluster.hosts for name in (host.name, host.name.split(".")[0], host.hostname, host.ip)}
    unknown = [name for name in listed if name not in known and name.split(".")[0] not in known]
    have = "have" if idle > 1 else "has"
    without = f"{', '.join(unknown)} {have} none" if len(unknown) == idle else f"{idle} of the listed hosts {have} none"
    return [
        f"several ranks share a host ({', '.join(several)}), and {without}; to use all hosts, add --map-by node to "
        "mpirun, or write slots=1 after each name in the hostfile"
    ]


def _launcher(proc: Path) -> Path | None:
    """The folder of the closest process above this one that is a launcher."""
    number = os.getppid()
    while number > 1:
        process = proc / str(number)
        if (process / "comm").read_text(encoding="utf-8", errors="replace").strip() in LAUNCHERS:
            return process
        status = (process / "status").read_text(encoding="utf-8", errors="replace")
        number = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
    return None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        yield option, value if equals else following


def _names_in(hostfile: Path) -> Iterator[str]:
    for line in hostfile.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        words = line.split("#")[0].split()
        if words and not words[0].startswith(("^", "+")):
            yield _name(words[0])


def _name(entry: str) -> str:
    """Of `user@mini1:4`, mini1."""
    name = entry.rpartition("@")[2].strip()
    return name.split(":")[0] if name.count(":") == 1 else name
