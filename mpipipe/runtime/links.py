"""How long messages take between hosts: small ones and large ones, one way and both ways at once.

One pair of ranks stands for each pair of hosts, the lowest of each; pairs that share no host are measured at the same
time. One rank of a pair leads: each of its messages says whether it is the last, so that the other need know no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.layers import Array
from mpipipe.resources import Link
from mpipipe.runtime.messages import SHORT_WAIT_S, Patience, Tag, Transport

Pair = tuple[int, int]
SMALL_BYTES, LARGE_BYTES = 8, 1 << 20
LEAST, MOST, ENOUGH_S = 2, 200, 0.02
"""A message is repeated, after one that does not count, for ENOUGH_S, but at least LEAST and at most MOST times."""
SPIN_S = 3e-4
"""So long a rank waits without sleep, as a sleep is longer than the latency of most links; but where two ranks share a
core, the one that waits must sleep for the other to answer."""
STALL_S = 60.0


def tournament(hosts: Sequence[str]) -> list[list[Pair]]:
    """Rounds of pairs of ranks, by the hosts' names in rank order: first two ranks of each host that has them, then
    every pair of hosts once, each host at most once in a round (the circle method)."""
    ranks: dict[str, list[int]] = {}
    for rank, name in enumerate(hosts):
        ranks.setdefault(name, []).append(rank)
    rounds = [[(some[0], some[1]) for some in ranks.values() if len(some) > 1]]
    circle: list[int | None] = [some[0] for some in ranks.values()]
    circle += [None] * (len(circle) % 2)
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        facing = zip(circle[:half], reversed(circle[half:]), strict=True)
        rounds.append([(min(a, b), max(a, b)) for a, b in facing if a is not None and b is not None])
        circle[1:] = [circle[-1], *circle[1:-1]]
    return [pairs for pairs in rounds if pairs]


@dataclass(frozen=True)
class Line:
    """One end of a pair: the rank at the other end, and whether this one leads."""

    transport: Transport
    peer: int
    leads: bool
    clock: Clock = REAL_CLOCK


def measure_link(line: Line, first: str, second: str) -> Link:
    """What both ranks of a pair call; the link between their hosts as the one that leads has found it.

    The quickest exchange counts: nothing carries a message faster than the link can, and a busy host only delays it.
    """
    small = min(_repeat(line, SMALL_BYTES, both=False)) / 2
    one_way = min(_repeat(line, LARGE_BYTES, both=False)) / 2
    at_once = min(_repeat(line, LARGE_BYTES, both=True))
    return Link(first, second, small, _bandwidth(one_way, small), _bandwidth(at_once, small))


def _bandwidth(seconds: float, latency_s: float) -> float:
    """Of a large message, without the latency; that may be no longer the half of it than all, on a noisy host."""
    return LARGE_BYTES / max(seconds - latency_s, seconds / 2)


def _repeat(line: Line, size: int, both: bool) -> list[float]:
    """Seconds of each exchange: there and back, or both ways at once. The first is left out, as it opens the way."""
    out, into, tag = np.zeros(size, np.uint8), np.zeros(size, np.uint8), Tag.LINK.of(0)
    taken: list[float] = []
    start = line.clock.now()
    while True:
        began = line.clock.now()
        if line.leads:
            out[0] = len(taken) >= MOST or (len(taken) >= LEAST and began - start > ENOUGH_S)
        if both:
            _wait(line, [_send(line, out, tag), _receive(line, into, tag)])
        elif line.leads:
            _wait(line, [_send(line, out, tag)])
            _wait(line, [_receive(line, into, tag)])
        else:
            _wait(line, [_receive(line, into, tag)])
            _wait(line, [_send(line, out, tag)])
        taken.append(line.clock.now() - began)
        if (out if line.leads else into)[0]:
            return taken[1:]


def _send(line: Line, array: Array, tag: int) -> object:
    return line.transport.send(array, line.peer, tag)


def _receive(line: Line, array: Array, tag: int) -> object:
    return line.transport.receive(array, line.peer, tag)


def _wait(line: Line, requests: list[object]) -> None:
    patience = Patience(STALL_S, f"measuring the link to rank {line.peer}", (SHORT_WAIT_S, SHORT_WAIT_S), line.clock)
    spin_until = line.clock.now() + SPIN_S
    while True:
        ended = set(line.transport.finished(requests))
        requests = [request for i, request in enumerate(requests) if i not in ended]
        if not requests:
            return
        if line.clock.now() < spin_until:
            line.clock.give_way()
        else:
            line.clock.sleep(patience.next_wait("its message".__str__))
