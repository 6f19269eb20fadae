"""The in-process twin of `transport`: ranks are threads of one process. For tests, and for learning, without MPI.

A send is a rendezvous: it ends when its receive has copied the array, so what would deadlock over MPI's rendezvous
protocol deadlocks here too.
"""

import math
import threading
from collections import defaultdict, deque
from typing import Any

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.layers import Array


class _Request:
    def __init__(self, array: Array) -> None:
        self.array, self.bytes, self.done, self.reported, self.met_at = array, 0, False, False, 0.0


class Mailbox:
    """What the ranks of one process share: sends and receives that have not met yet."""

    def __init__(self, clock: Clock = REAL_CLOCK) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.sends: dict[tuple[int, int, int], deque[_Request]] = defaultdict(deque)
        self.receives: dict[tuple[int, int, int], deque[_Request]] = defaultdict(deque)


class LocalTransport:
    """One rank's end of a Mailbox."""

    def __init__(self, mailbox: Mailbox, rank: int) -> None:
        self.mailbox, self.rank = mailbox, rank

    def send(self, array: Array, peer: int, tag: int) -> Any:
        """Offer an array to `peer`."""
        return self._offer(array, (self.rank, peer, tag), self.mailbox.sends)

    def send_to_meet(self, array: Array, peer: int, tag: int) -> Any:
        """The same: every send here is a rendezvous."""
        return self.send(array, peer, tag)

    def met_at(self, request: Any) -> float:
        """When both ends were there."""
        return float(request.met_at)

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        """Ask for an array of `peer`."""
        return self._offer(array, (peer, self.rank, tag), self.mailbox.receives)

    def finished(self, requests: list[Any]) -> list[int]:
        """Those that have met and have not been reported: as in MPI, a request ends once."""
        ended = [i for i, request in enumerate(requests) if request.done and not request.reported]
        for i in ended:
            requests[i].reported = True
        return ended

    def count(self, request: Any) -> int | None:
        """Bytes got."""
        return request.bytes if request.done else None

    def soon_s(self) -> float:
        """Not known."""
        return math.inf

    def _offer(self, array: Array, key: tuple[int, int, int], side: dict[Any, deque[_Request]]) -> _Request:
        request = _Request(array)
        with self.mailbox.lock:
            side[key].append(request)
            sends, receives = self.mailbox.sends[key], self.mailbox.receives[key]
            while sends and receives:
                _copy(sends.popleft(), receives.popleft(), self.mailbox.clock.now())
        return request


def _copy(sender: _Request, receiver: _Request, now: float) -> None:
    source, target = sender.array.reshape(-1).view(np.uint8), receiver.array.reshape(-1).view(np.uint8)
    if source.size > target.size:
        raise BufferError(f"a message of {source.size} bytes for a buffer of {target.size}")
    target[: source.size] = source
    receiver.bytes = source.size
    receiver.met_at = sender.met_at = now
    receiver.done = sender.done = True
