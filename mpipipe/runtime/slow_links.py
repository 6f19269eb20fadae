"""A transport around another one: messages between pretended hosts take as long as they would over a slow link.

A message begins when both ends have posted it (a rendezvous), a link carries one message at a time each way, and both
ends see the message ended only when it would have arrived. Really it goes at once: each end works out for itself, from
the moment when the message had met its receive, when to say so. It knows the links, not what the messages are.
"""

import math
from dataclasses import dataclass
from typing import Any

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.layers import Array
from mpipipe.resources.pretence import Link, Pretence
from mpipipe.runtime.messages import Rendezvous, Transport


@dataclass
class _Line:
    """One way of a link as this rank sees it: busy until `free_at`, by the clock."""

    link: Link
    free_at: float = 0.0

    def carry(self, size: int, now: float) -> float:
        """When a message that could begin now has arrived."""
        self.free_at = max(now, self.free_at) + self.link.busy_s(size)
        return self.free_at + self.link.latency_s


@dataclass
class _Request:
    """A message under way: `due` is when it has arrived, once that is known."""

    inner: Any
    line: _Line | None
    bytes: int
    due: float | None = None
    told: bool = False


class SlowLinks:
    """See the module. `links` are those to the peers on other hosts."""

    def __init__(self, inner: Rendezvous, links: dict[int, Link], clock: Clock = REAL_CLOCK) -> None:
        self.inner, self.clock = inner, clock
        self.outward = {peer: _Line(link) for peer, link in links.items()}
        self.inward = {peer: _Line(link) for peer, link in links.items()}
        self.dues: list[float] = []

    def send(self, array: Array, peer: int, tag: int) -> Any:
        """Begin to send, by a rendezvous where the link is slow."""
        line = self.outward.get(peer)
        begin = self.inner.send if line is None else self.inner.send_to_meet
        return _Request(begin(array, peer, tag), line, array.nbytes)

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        """Begin to receive."""
        return _Request(self.inner.receive(array, peer, tag), self.inward.get(peer), array.nbytes)

    def finished(self, requests: list[Any]) -> list[int]:
        """Those that have arrived by now, each told once."""
        open_ones = [request for request in requests if request.due is None]
        for i in self.inner.finished([request.inner for request in open_ones]) if open_ones else ():
            self._carry(open_ones[i], open_ones[i].bytes)
        ended = [i for i, request in enumerate(requests) if not request.told and self._arrived(request)]
        for i in ended:
            requests[i].told = True
        return ended

    def count(self, request: Any) -> int | None:
        """Bytes got, once they have arrived."""
        if request.due is None and (size := self.inner.count(request.inner)) is not None:
            self._carry(request, size)
        return request.bytes if self._arrived(request) else None

    def soon_s(self) -> float:
        """Seconds until the next message that is on its way arrives."""
        now = self.clock.now()
        self.dues = [due for due in self.dues if due > now]
        return min(self.dues, default=math.inf) - now

    def _carry(self, request: _Request, size: int) -> None:
        met = self.inner.met_at(request.inner)
        request.bytes, request.due = size, met if request.line is None else request.line.carry(size, met)
        self.dues.append(request.due)

    def _arrived(self, request: _Request) -> bool:
        return request.due is not None and request.due <= self.clock.now()


def over_links(transport: Rendezvous, rank: int, pretence: Pretence | None) -> Transport:
    """The transport as the pretended hosts have it; itself where nothing slow is pretended."""
    if pretence is None:
        return transport
    found = {peer: pretence.link_between(rank, peer) for peer in range(len(pretence.hosts))}
    links = {peer: link for peer, link in found.items() if link is not None}
    return SlowLinks(transport, links) if links else transport
