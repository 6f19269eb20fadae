"""A transport as unkind as MPI may be, around LocalTransport: messages take their time, and overtake each other.

What MPI promises is kept: messages of one sender with one tag arrive in order, what is received is what was sent.
All else is left to `Fate`: how often its receiver must look before a message arrives; whether a send is buffered (it
ends at once, like a small message) or waits for its receive; how many looks later the end of a request shows. And like
MPI's Testsome, `finished` names a request once, and never again.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpipipe.layers import Array
from mpipipe.runtime.local import LocalTransport
from mpipipe.runtime.messages import Tag


@dataclass(frozen=True)
class Fate:
    """What becomes of one message, or (`shows_after`) of one request. What a rank sends to itself is never late."""

    looks: int = 0
    buffered: bool = False
    shows_after: int = 0


Decide = Callable[[Tag, int], Fate]
"""The fate of a message with that tag and so many bytes. One function for each rank, called in its order of sending."""


def fates(seed: int) -> Callable[[int], Decide]:
    """Random fates for each rank: most messages are swift, a few very late."""

    def of_rank(rank: int) -> Decide:
        random = np.random.default_rng((seed, rank))

        def decide(tag: Tag, size: int) -> Fate:
            looks = int(random.choice([0, random.integers(1, 4), random.integers(4, 20)], p=[0.6, 0.3, 0.1]))
            return Fate(looks, size < 200 and random.random() < 0.7, int(random.integers(0, 3)))

        return decide

    return of_rank


class _Request:
    def __init__(self, inner: Any, shows_after: int) -> None:
        self.inner, self.hidden, self.told = inner, shows_after, False


@dataclass
class _Letter:
    """A message on its way; it arrives once its receiver has looked `due` times in all."""

    array: Array
    due: int
    request: _Request


class Sea:
    """What all ranks of one run share: letters on their way, in order for each (sender, receiver, tag)."""

    def __init__(self, decide: Callable[[int], Decide]) -> None:
        self.decide, self.lock = decide, threading.Lock()
        self.letters: dict[int, dict[tuple[int, int], deque[_Letter]]] = defaultdict(lambda: defaultdict(deque))
        self.looks: dict[int, int] = defaultdict(int)
        self.links: dict[int, LocalTransport] = {}

    def link(self, transport: LocalTransport) -> "HostileTransport":
        """Goes around a rank's transport, for `harness.play`."""
        self.links[transport.rank] = transport
        return HostileTransport(self, transport, self.decide(transport.rank))


class HostileTransport:
    """One rank's end of a Sea."""

    def __init__(self, sea: Sea, inner: LocalTransport, decide: Decide) -> None:
        self.sea, self.inner, self.rank, self.decide = sea, inner, inner.rank, decide

    def send(self, array: Array, peer: int, tag: int) -> Any:
        fate = self.decide(Tag(tag % len(Tag)), array.nbytes)
        request = _Request(None, fate.shows_after)
        if fate.buffered:
            array, done = array.copy(), np.empty(0)
            request.inner = self.inner.receive(done, self.rank, -1)
            self.inner.send(done, self.rank, -1)
        with self.sea.lock:
            looks = 0 if peer == self.rank else fate.looks
            letter = _Letter(array, self.sea.looks[peer] + looks, request)
            self.sea.letters[peer][self.rank, tag].append(letter)
        return request

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        fate = self.decide(Tag(tag % len(Tag)), array.nbytes)
        return _Request(self.inner.receive(array, peer, tag), fate.shows_after)

    def finished(self, requests: list[Any]) -> list[int]:
        self._look()
        ended = [i for i, request in enumerate(requests) if self._ended(request) and not request.told]
        for i in ended:
            requests[i].told = True
        return ended

    def count(self, request: Any) -> int | None:
        self._look()
        return self.inner.count(request.inner) if self._ended(request) else None

    def soon_s(self) -> float:
        return self.inner.soon_s()

    def _look(self) -> None:
        """Let arrive what is due for this rank."""
        with self.sea.lock:
            self.sea.looks[self.rank] += 1
            for (sender, tag), letters in self.sea.letters[self.rank].items():
                while letters and letters[0].due <= self.sea.looks[self.rank]:
                    letter = letters.popleft()
                    inner = self.sea.links[sender].send(letter.array, self.rank, tag)
                    letter.request.inner = letter.request.inner or inner

    def _ended(self, request: _Request) -> bool:
        if request.inner is None or not request.inner.done:
            return False
        request.hidden -= 1
        return request.hidden < 0
