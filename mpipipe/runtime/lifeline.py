"""A rank's line to the witness, the process that says what became of a run once MPI has ended it (see `witness`).

Only where a launcher on this machine started rank 0 is there a witness, for only there is a place to write its line to.
A rank that cannot reach it does without.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from mpipipe.launcher import launched_rank, launcher_above
from mpipipe.runtime import witness
from mpipipe.runtime.witness import FAULT, GOODBYE, keep_asking

CONNECT_S = 5.0
"""A host that has not answered by then will not."""


class Lifeline:
    """What every rank may say. This one has nobody to say it to."""

    def offer(self, size: int) -> Any:
        """Rank 0's: where others find the witness, as plain data; None where there is none."""
        return None

    def know(self, *, names: Sequence[str] | None = None, rest: str | None = None) -> None:
        """Rank 0's: how ranks are called from now on, and how to go on, if they are lost."""

    def lost(self) -> str:
        """The rank whose process or host has gone first, as the beginning of a sentence; empty if none is known to
        have. Ranks other than 0 know of rank 0 only."""
        return ""

    def say(self, line: str) -> bool:
        """Rank 0's: leave the last line to the witness; whether it takes it."""
        return False

    def leave(self, *, fault: bool = False, ending_s: float | None = None) -> None:
        """This rank is about to end, for a reason that it knows. Rank 0's: the launcher has `ending_s` to end as
        well, before it is killed; None: it will."""


class Held(Lifeline):
    """Another rank's: the kernel closes it when this process is gone."""

    def __init__(self, offer: Any, rank: int, host: str) -> None:
        self.greeting = f"{offer['token']} {rank} {host}\n".encode()
        self.places = [(address, offer["port"]) for address in offer["addresses"]]
        self.connection: socket.socket | None = None
        self.thread = threading.Thread(target=self._connect, daemon=True)
        self.thread.start()

    def lost(self) -> str:
        """See Lifeline."""
        if self.connection is None:
            return ""
        try:
            gone = self.connection.recv(1) == b""
        except BlockingIOError:
            return ""
        except OSError:
            gone = True
        return "rank 0: its process has ended, or its host does not answer; " if gone else ""

    def leave(self, *, fault: bool = False, ending_s: float | None = None) -> None:
        """See Lifeline."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.send(FAULT if fault else GOODBYE)

    def _connect(self) -> None:
        for place in self.places:
            with contextlib.suppress(OSError):
                connection = socket.create_connection(place, CONNECT_S)
                connection.sendall(self.greeting)
                if connection.recv(1) == GOODBYE:  # or it was another program
                    keep_asking(connection)
                    connection.setblocking(False)
                    self.connection = connection
                    return
                connection.close()


class Called(Lifeline):
    """Rank 0's: it starts the witness."""

    def __init__(self, launcher: witness.Program) -> None:
        self.listener = socket.create_server(("", 0), backlog=1024)
        command = [sys.executable, "-I", "-S", str(Path(witness.__file__).resolve())]
        end, self.life = os.pipe()
        numbers = [self.listener.fileno(), end]
        self.process = subprocess.Popen(
            [*command, *map(str, numbers), str(launcher.pid), launcher.start],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=numbers, start_new_session=True, cwd="/",
        )  # fmt: skip
        self.token, self.port = secrets.token_hex(16), self.listener.getsockname()[1]
        self.listener.close()
        os.close(end)
        self.speaks: bool | None = None

    def offer(self, size: int) -> Any:
        """See Lifeline."""
        self._tell(token=self.token, size=size)
        return {"token": self.token, "port": self.port, "addresses": _addresses()}

    def know(self, *, names: Sequence[str] | None = None, rest: str | None = None) -> None:
        """See Lifeline."""
        self._tell(**({} if names is None else {"names": list(names)}), **({} if rest is None else {"rest": rest}))

    def lost(self) -> str:
        """See Lifeline."""
        self._can_speak()
        self._tell(ask=True)
        return str(self._answer() or "")

    def say(self, line: str) -> bool:
        """See Lifeline."""
        if not self._can_speak():
            return False
        self._tell(last=line)
        return True

    def leave(self, *, fault: bool = False, ending_s: float | None = None) -> None:
        """See Lifeline."""
        self._tell(end=ending_s)

    def _can_speak(self) -> bool:
        if self.speaks is None:
            self.speaks = self._answer() is True
        return self.speaks

    def _tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(f"{json.dumps(order)}\n".encode())
            self.process.stdin.flush()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.process.stdout.readline())
        return None


def _addresses() -> list[str]:
    """This host's IPv4 addresses."""
    every = [one.address for all_of in psutil.net_if_addrs().values() for one in all_of if one.family == socket.AF_INET]
    return sorted(every, key=lambda address: address.startswith("127."))  # loopback is the last resort


def call_witness() -> Lifeline:
    """Start the witness, on a rank 0 that a launcher of this machine started; before MPI starts."""
    if launched_rank() != 0:
        return Lifeline()
    with contextlib.suppress(OSError):
        launcher = launcher_above()
        found = witness.program(launcher) if launcher else None
        return Called(found) if found else Lifeline()
    return Lifeline()


def hold_on(mine: Lifeline, share: Callable[[Callable[[], Any]], Any], rank: int, size: int, host: str) -> Lifeline:
    """Let every rank reach rank 0's witness. All ranks call this; `share` is World.share."""
    offer = share(lambda: mine.offer(size))
    return Held(offer, rank, host) if rank and offer else mine
