"""A lock on a run's folder, so that two processes never write into it at once.

It is a lock of the operating system on a file that names its holder. The system releases it when the process ends, in
whatever way, so the file that a killed process leaves behind blocks nobody.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import psutil

from mpipipe.errors import UserError
from mpipipe.records import from_plain, to_plain
from mpipipe.report.replace import unwritable

NAME = "lock"


@dataclass(frozen=True)
class Holder:
    """A process, told apart from later ones that get its number by when it started."""

    host: str
    pid: int
    started_s: float

    @property
    def is_alive_here(self) -> bool:
        """Whether it runs on this host. Of other hosts that is not known."""
        try:
            started_s = psutil.Process(self.pid).create_time()
        except psutil.Error:
            return False
        return self.host == socket.gethostname() and abs(started_s - self.started_s) < 1


@contextlib.contextmanager
def locked(folder: Path, lock: Callable[[int, int], None] = fcntl.flock) -> Iterator[None]:
    """Holds the lock of a folder that exists. UserError where another process holds it, or the folder cannot be
    written. On a file system without locks, only processes of this host are seen."""
    path = folder / NAME
    try:
        file = _take(path, lock)
    except OSError as reason:
        raise unwritable(folder, reason) from reason
    with file:
        holder = Holder(socket.gethostname(), os.getpid(), psutil.Process().create_time())
        with contextlib.suppress(OSError):  # a full disk: it is locked without a name, then
            file.truncate(0)
            file.write(json.dumps(to_plain(holder)).encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _take(path: Path, lock: Callable[[int, int], None]) -> FileIO:
    """The file, open and locked. One that its last holder has just removed is left for a new one."""
    while True:
        file = path.open("a+b", buffering=0)
        file.seek(0)
        try:
            lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # as file systems over a network may say it
            raise _refusal(path, _holder(file)) from None
        except OSError:  # no locks on this file system
            holder = _holder(file)
            if holder is not None and holder.is_alive_here:
                raise _refusal(path, holder) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _holder(file: FileIO) -> Holder | None:
    try:
        return from_plain(Holder, json.loads(file.read()), NAME)
    except (OSError, ValueError, UserError):
        return None


def _refusal(path: Path, holder: Holder | None) -> UserError:
    who = f"process {holder.pid} on host {holder.host}" if holder else "another process"
    remedy = "wait until it has ended, or stop it; or give another --out"
    return UserError(str(path.parent), f"in use by {who}", "a run that no other process writes", remedy)
