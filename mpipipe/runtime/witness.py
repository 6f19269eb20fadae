"""The witness: a small process beside rank 0 that outlives the ranks. It knows the standard library only.

MPI ends a run without asking: Open MPI's own code ends any rank that a connection was lost to, rank 0 too, and mpirun
then blames the rank that ended first; a daemon on a host without power leaves mpirun waiting for ever. So this process
holds one connection to every rank, which the kernel closes when that rank is gone. When rank 0 is gone, it says which
rank went first, and ends an mpirun that does not end by itself.

    rank 1 --connection--\\
    rank 2 --connection----> witness --> the launcher's standard error
    rank 0 --its orders---/        \\---> the launcher, if it does not end

All of it is one file, longer than others, because it is started as a file, without the package, so that it starts at
once and depends on nothing that may be the reason of the end. `lifeline` starts it with the numbers of two open files,
the socket to listen on and a pipe that ends when rank 0 does, and with the number and start of the launcher's process.
Orders come in by standard input.
"""

import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDING_S = 10.0
"""Seconds that a launcher has to end by itself, unless rank 0 said another number: it may have many hosts to ask."""
GOODBYE, FAULT = b".", b"!"
"""What a rank writes before it ends: it was told to; or it has met an error, and has said so itself."""
KILLED, UNREACHED = b"", b"?"
"""What stands for a rank that wrote nothing: the kernel of its host closed the connection, or answers no more."""
ALIVE_S, ASK_S, ASKS = 10, 5, 4
"""A connection that is silent for so long is asked by the kernel, again and again, and is lost after so many times. The
host's kernel answers, however busy the rank is."""


@dataclass(frozen=True)
class Program:
    """A process, by its number and the time of its start: numbers are used again."""

    pid: int
    start: str

    def lives(self) -> bool:
        """Whether it has not ended yet."""
        found = program(self.pid)
        return found == self

    def kill(self) -> None:
        """End it, if it is still the same."""
        if self.lives():
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)


def status_of(pid: int) -> list[str]:
    """The words of /proc/PID/stat behind the name: state, parent, ...; empty where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def program(pid: int) -> Program | None:
    """The process of this number; None where it has ended."""
    words = status_of(pid)
    return Program(pid, words[19]) if words and words[0] not in "ZX" else None


def children(pid: int) -> list[Program]:
    """All that were started by it and are still there."""
    found = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return [one for number in found if status_of(number)[1:2] == [str(pid)] and (one := program(number))]


def keep_asking(connection: socket.socket) -> None:
    """Let the kernel find out whether the other end is still there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ALIVE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASK_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ASKS)


def _all_of(read: Callable[[], bytes]) -> Iterator[bytes]:
    """All that can be read now; KILLED at the end of a connection, UNREACHED where nobody answers any more."""
    while True:
        try:
            data = read()
        except BlockingIOError:
            return
        except ConnectionError:
            data = KILLED
        except OSError:  # timed out, or no route
            data = UNREACHED
        yield data
        if data in (KILLED, UNREACHED):
            return


class LastWord:
    """A launcher's standard error, to write the last line to even when it copies no more of what ranks write."""

    def __init__(self, launcher: Program) -> None:
        self.launcher = launcher
        path = f"/proc/{launcher.pid}/fd/2"
        self.stream = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        self.late = stat.S_ISREG(os.fstat(self.stream).st_mode) and not _appends(launcher.pid)
        """Whether the launcher would write over a line that is put at the end of its file."""

    def say(self, text: str) -> None:
        """Write it."""
        with contextlib.suppress(OSError):
            os.write(self.stream, f"{text}\n".encode(errors="backslashreplace"))


def _appends(pid: int) -> bool:
    """Whether a process has its standard error opened for appending, so that nobody's lines are overwritten."""
    try:
        text = Path(f"/proc/{pid}/fdinfo/2").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return bool(int(flags, 8) & os.O_APPEND)


@dataclass
class Known:
    """What the witness has been told, and what it has seen."""

    names: list[str] = field(default_factory=list)
    """Every rank with its host and stages, once that is known."""
    hosts: dict[int, str] = field(default_factory=dict)
    rest: str = ""
    """How to go on."""
    token: str = ""
    size: int = 0
    ends: list[tuple[int, bytes]] = field(default_factory=list)
    """Ranks that have ended, in order, with what they wrote last: nothing, if they were killed."""

    def lost(self) -> str:
        """The rank whose process went first, as the beginning of a sentence; empty if none has, or none alone."""
        if not self.ends or self.ends[0][1] in (GOODBYE, FAULT):
            return ""
        rank, mark = self.ends[0]
        name = self.names[rank] if rank < len(self.names) else f"rank {rank} on {self.hosts.get(rank, 'its host')}"
        found = "its host does not answer" if mark == UNREACHED else "its process was killed or ended by itself"
        return f"{name}: {found}; "

    def verdict(self) -> str:
        """The line to write for a rank 0 that is gone without a word; empty where a rank has said all itself."""
        if self.ends and self.ends[0][1] == FAULT:
            return ""
        return f"mpipipe: {self.lost()}{self.rest or 'the run was ended'}"


class Witness:
    """Looks at all connections until rank 0 is gone."""

    def __init__(self, listener: socket.socket, life: int, launcher: Program) -> None:
        self.listener, self.life, self.launcher = listener, life, launcher
        self.orders, self.answers = 0, 1
        self.known = Known()
        self.text, self.last = b"", ""
        self.ending_s: float | None = ENDING_S
        self.over = False
        self.ranks: dict[socket.socket, int] = {}
        self.marks: dict[socket.socket, bytes] = {}
        self.poll = select.epoll()
        self.connections: dict[int, socket.socket] = {}
        for number in (self.orders, life, listener.fileno()):
            os.set_blocking(number, False)
            self._look_at(number)

    def watch(self) -> None:
        """Until rank 0 has ended the matter, or is gone."""
        while not self.over:
            for number, _ in self.poll.poll():
                if number == self.orders:
                    self._obey()
                elif number == self.listener.fileno():
                    self._welcome()
                elif number == self.life:
                    self._end()
                elif number in self.connections:
                    self._hear(self.connections[number])

    def _look_at(self, number: int) -> None:
        """With EPOLLET the kernel tells of what happened first, first, and once: all that is there must be read."""
        self.poll.register(number, select.EPOLLIN | select.EPOLLET)

    def finish(self, word: LastWord | None) -> None:
        """Say the last line; end a launcher that does not end."""
        if word is not None and self.last and not word.late:
            word.say(self.last)
        if self.ending_s is None:
            return
        end = time.monotonic() + self.ending_s
        while self.launcher.lives() and time.monotonic() < end:
            time.sleep(0.05)
        if self.launcher.lives():
            left = children(self.launcher.pid)
            for one in (self.launcher, *left):
                one.kill()
        if word is not None and self.last and word.late:
            word.say(self.last)

    # ---- what may happen ----------------------------------------------------------------------------------------

    def _obey(self) -> None:
        for data in _all_of(lambda: os.read(self.orders, 65536)):
            *lines, self.text = (self.text + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _end(self) -> None:
        """Rank 0 is gone: all that it has ever said comes first, then that it went without a word, if it did."""
        self._obey()
        if not self.over:
            all_seen = len(self.ranks) == self.known.size - 1  # else it may well have gone because of another
            self.known.ends.append((0, KILLED if all_seen else GOODBYE))
            self.last, self.over = self.known.verdict(), True

    def _take(self, order: dict[str, Any]) -> None:
        for name in ("names", "rest", "token", "size"):
            if name in order:
                setattr(self.known, name, order[name])
        if "ask" in order:
            with contextlib.suppress(OSError):
                os.write(self.answers, f"{json.dumps(self.known.lost())}\n".encode())
        self.last = order.get("last", self.last)
        if "end" in order:
            self.ending_s, self.over = order["end"], True

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                keep_asking(connection)
                connection.setblocking(False)
                self.connections[connection.fileno()] = connection
                self._look_at(connection.fileno())

    def _hear(self, connection: socket.socket) -> None:
        for data in _all_of(lambda: connection.recv(4096)):
            if data in (KILLED, UNREACHED):
                self._close(connection, data)
                return
            if connection in self.ranks:
                self._mark(connection, data)
            elif not self._introduce(connection, data):
                self._close(connection, GOODBYE)
                return

    def _introduce(self, connection: socket.socket, data: bytes) -> bool:
        """The first bytes of a connection: the token that only ranks know, the rank, and its host."""
        words = data.decode(errors="replace").split()
        if len(words) != 3 or words[0] != self.known.token or not words[1].isdigit():
            return False
        self.ranks[connection] = int(words[1])
        self.known.hosts[int(words[1])] = words[2]
        with contextlib.suppress(OSError):
            connection.send(GOODBYE)
        return True

    def _mark(self, connection: socket.socket, data: bytes) -> None:
        """A rank is about to end, for a reason that it knows."""
        if connection not in self.marks:
            self.marks[connection] = data[:1]
            self.known.ends.append((self.ranks[connection], data[:1]))

    def _close(self, connection: socket.socket, mark: bytes) -> None:
        del self.connections[connection.fileno()]
        connection.close()
        if connection in self.ranks and connection not in self.marks:
            self.known.ends.append((self.ranks[connection], mark))


def main() -> None:
    """As a program: see the module."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    listener, life = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    launcher = Program(int(sys.argv[3]), sys.argv[4])
    try:
        word = LastWord(launcher)
    except OSError:
        word = None
    os.write(1, b"true\n" if word else b"false\n")
    witness = Witness(listener, life, launcher)
    witness.watch()
    witness.finish(word)


if __name__ == "__main__":
    main()
