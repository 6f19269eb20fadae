"""Point-to-point messages as the rest of the runtime sees them: tags, checked ports, and waiting without spinning.

Two transports keep this protocol: `transport` over MPI and `local` between threads of one process. Both are used from
a rank's main thread only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.errors import MpipipeError, StallError
from mpipipe.layers import Array, Shape

SHORT_WAIT_S, LONG_WAIT_S = 50e-6, 1e-3
LATE = 1 / 4
"""A rank that waits sleeps between two looks, and leaves its core to others: for LATE of what it has waited already,
but no less than the short time and no more than the long one. So what it waits for is seen that much late at the most,
however long it takes. With a part of a core only, the plan says how long it sleeps."""


STOPPED_S = 1.0
"""A longer time between two looks of one wait is time in which this process did not run: suspended, or its machine."""


class Tag(IntEnum):
    """What a message is; with the number of the micro-batch and chunk, or of the piece, it makes the MPI tag."""

    ACT = 0
    TARGET = 1
    GRAD = 2
    OUT = 3
    ORDER = 4
    REPORT = 5
    NORM = 6
    PIECE = 7
    TIED = 8
    LINK = 9
    TRACE = 10
    CLOCK = 11
    MOVE = 12
    BEAT = 13

    def of(self, number: int) -> int:
        """The MPI tag for `number`."""
        return number * len(Tag) + self


class MessageError(MpipipeError):
    """A message that is not what both sides agreed on. It never reaches MPI."""


class Transport(Protocol):
    """Non-blocking messages between ranks. A request is whatever `finished` understands."""

    def send(self, array: Array, peer: int, tag: int) -> Any:
        """Begin to send a contiguous array; it must not change until the request is finished."""

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        """Begin to receive into a contiguous array."""

    def finished(self, requests: list[Any]) -> list[int]:
        """Indices of the requests that have ended by now. Never waits."""

    def count(self, request: Any) -> int | None:
        """Bytes that a receive has got, or None while it has not ended. A request is asked here or by `finished`."""

    def soon_s(self) -> float:
        """Seconds until a message is known to end; infinity where that is not known. A wait need be no longer."""


class Rendezvous(Transport, Protocol):
    """A transport that can also tell when a message has met its receive."""

    def send_to_meet(self, array: Array, peer: int, tag: int) -> Any:
        """A send that does not end before its receive has begun."""

    def met_at(self, request: Any) -> float:
        """When a request that has ended met its other end, by the clock; now, where that is not known."""


@dataclass(frozen=True)
class Port:
    """One end of a stream of messages: each is (up to `rows`, *shape) of `dtype` to or from `peer`.

    They are for the receiving rank's chunk number `chunk`, where no rank has more than `chunks`. With the sender this
    tells the boundary that they cross, by the least numbers: MPI promises tags up to 32767 only.
    """

    peer: int
    tag: Tag
    rows: int
    shape: Shape
    dtype: str
    chunk: int = 0
    chunks: int = 1

    def send(self, transport: Transport, array: Array, micro: int) -> Any:
        """Check, then begin to send."""
        return transport.send(self.checked(array), self.peer, self._number(micro))

    def receive(self, transport: Transport, array: Array, micro: int) -> Any:
        """Check, then begin to receive."""
        return transport.receive(self.checked(array), self.peer, self._number(micro))

    def _number(self, micro: int) -> int:
        return self.tag.of(micro * self.chunks + self.chunk)

    def checked(self, array: Array) -> Array:
        """The array, if it is what was agreed on. Raises MessageError before MPI sees it."""
        fits = array.ndim > 0 and array.shape[1:] == self.shape and 0 < len(array) <= self.rows
        if not fits or array.dtype != np.dtype(self.dtype) or not array.flags.c_contiguous:
            found = f"{array.dtype} {array.shape}{'' if array.flags.c_contiguous else ', not contiguous'}"
            needed = f"{self.dtype} ({', '.join([f'1 to {self.rows}', *map(str, self.shape)])}), contiguous"
            raise MessageError(f"message {self.tag.name} with rank {self.peer}: {found}; needed: {needed}")
        return array

    def facts(self) -> list[Any]:
        """What both ends must agree on, as plain data."""
        return [self.tag.name, self.rows, list(self.shape), self.dtype, self.chunk, self.chunks]


def port(peer: int, tag: Tag, rows: int, shape: Shape, dtype: DTypeLike, place: tuple[int, int] = (0, 1)) -> Port:
    """A port with the dtype's name. `place` are its chunk and chunks."""
    return Port(peer, tag, rows, tuple(shape), np.dtype(dtype).name, *place)


class RunningTime:
    """Seconds since the last `restart`, without those in which this process was stopped. To be read often."""

    def __init__(self, clock: Clock = REAL_CLOCK) -> None:
        self.clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin again at zero."""
        self.total_s, self.read_at = 0.0, self.clock.now()

    def seconds(self) -> float:
        """Read it: at most STOPPED_S more than the last time."""
        now = self.clock.now()
        self.total_s += min(now - self.read_at, STOPPED_S)
        self.read_at = now
        return self.total_s


class Patience:
    """How long to sleep next, and when it has been too long: one for each loop that waits."""

    def __init__(
        self,
        stall_s: float,
        what: str,
        waits_s: tuple[float, float] = (SHORT_WAIT_S, LONG_WAIT_S),
        clock: Clock = REAL_CLOCK,
        silent: Callable[[], str] = str,
    ) -> None:
        self.stall_s, self.what, self.clock, self.silent = stall_s, what, clock, silent
        self.shortest_s, self.longest_s = waits_s
        self.time = RunningTime(clock)

    def renew(self) -> None:
        """Something happened."""
        self.time.restart()

    def waited_s(self) -> float:
        """Seconds since something happened, without those in which this process was stopped."""
        return self.time.seconds()

    def next_wait(self, pending: Callable[[], str]) -> float:
        """Seconds to sleep now. Raises StallError, saying what is `pending`, once nothing happened for too long."""
        waited_s = self.waited_s()
        if waited_s > self.stall_s:
            waits = f"{self.what}: nothing arrived for {self.stall_s:.3g} s; waiting for {pending()}"
            silent = self.silent()
            raise StallError(f"{silent}; {waits}" if silent else waits)
        return max(self.shortest_s, min(self.longest_s, LATE * waited_s))


def wait_all(
    transport: Transport, requests: Sequence[Any], patience: Patience, idle: Callable[[], None] | None = None
) -> None:
    """Wait until all requests have ended; call `idle` between looks."""
    left = list(requests)
    while left:
        ended = set(transport.finished(left))
        if ended:
            left = [request for i, request in enumerate(left) if i not in ended]
            patience.renew()
            continue
        if idle is not None:
            idle()
        patience.clock.sleep(min(patience.next_wait("messages".__str__), transport.soon_s()))
