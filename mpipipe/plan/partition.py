"""The exact search: which ranks hold which layers, in which order, so that the slowest stage is as fast as can be.

Hosts of one kind are alike, so what has been used is a multiset of kinds. Stages are built from the last to the first,
since how many micro-batches a stage must keep depends on how many stages follow it. For a bound on a stage's time,
`reach` holds for every multiset the earliest layer that it can cover down to; the least bound that reaches layer 0
with the wanted number of stages is found by bisection over every time that some stage could take. It is the chain
partition of Pinar and Aykanat (2004) with the order of the processors left free, as in PipeEdge (Hu et al. 2022).
"""

import bisect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpipipe.plan.predict import Limits, Totals, stage_bytes, stage_seconds
from mpipipe.resources.cluster import Host

MOST_STATES = 4096
"""Multisets that the search may hold. 12 ranks all different have this many."""

LimitRule = Callable[[int, Host], Limits]
"""Room of a stage, from the number of stages after it and its host."""
Cut = tuple[int, int, int]
"""Kind of host, first layer, last layer + 1."""
State = tuple[int, ...]
"""How many hosts of each kind are used."""
Reach = dict[State, tuple[int, Cut | None]]
"""For each state, the earliest layer that it covers down to, and its first cut."""


@dataclass(frozen=True)
class Kinds:
    """Hosts grouped: the search plans with the `hosts` (one for each kind), `members` are the ranks of each kind."""

    hosts: tuple[Host, ...]
    members: tuple[tuple[int, ...], ...]
    rounding: float


def group_hosts(hosts: Sequence[Host]) -> Kinds:
    """Kinds as fine as the search can hold. A kind is as slow and small as its least member."""
    for rounding in (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 4.0):
        groups: dict[tuple[float, ...], list[Host]] = {}
        for host in hosts:
            groups.setdefault(_signature(host, rounding), []).append(host)
        if math.prod(len(group) + 1 for group in groups.values()) <= MOST_STATES:
            break
    return Kinds(
        tuple(_least(group) for group in groups.values()),
        tuple(tuple(host.rank for host in group) for group in groups.values()),
        rounding,
    )


def partition(totals: Totals, kinds: Kinds, stages: int, rule: LimitRule) -> list[Cut] | None:
    """The cuts of the best `stages` stages in pipeline order, or None where no choice fits every host's memory."""
    search = _Search(totals, kinds, stages, rule)
    bounds = _stage_times(totals, kinds)
    low, high = 0, len(bounds) - 1
    if search.solve(bounds[high]) is None:
        return None
    while low < high:
        middle = (low + high) // 2
        if search.solve(bounds[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return search.solve(bounds[high])


class _Search:
    def __init__(self, totals: Totals, kinds: Kinds, stages: int, rule: LimitRule) -> None:
        self.totals, self.kinds, self.stages, self.rule = totals, kinds, stages, rule
        self.counts = tuple(len(members) for members in kinds.members)
        self.work = [[stage_seconds(totals, 0, j, host) for j in range(totals.layers + 1)] for host in kinds.hosts]
        self.limits = [[rule(after, host) for after in range(stages)] for host in kinds.hosts]

    def solve(self, bound: float) -> list[Cut] | None:
        """The cuts whose stages all take at most `bound` seconds, or None."""
        trail: list[Reach] = []
        reach: Reach = {(0,) * len(self.counts): (self.totals.layers, None)}
        for after in range(self.stages):
            left = self.stages - after - 1
            wider: Reach = {}
            for used, (end, _) in reach.items():
                for kind, count in enumerate(used):
                    if count == self.counts[kind]:
                        continue
                    first = self._extend(kind, end, after, left, bound)
                    grown = (*used[:kind], count + 1, *used[kind + 1 :])
                    if first is not None and (grown not in wider or first < wider[grown][0]):
                        wider[grown] = (first, (kind, first, end))
            trail.append(wider)
            reach = wider
        done = next((used for used, (first, _) in reach.items() if first == 0), None)
        return None if done is None else _trace(done, trail)

    def _extend(self, kind: int, end: int, after: int, left: int, bound: float) -> int | None:
        """The earliest first layer of a stage that ends at `end`, leaving a layer for each of the `left` stages."""
        if end <= left:
            return None
        work = self.work[kind]
        least = work[end] - bound
        first = max(left, bisect.bisect_left(work, least - 1e-12 * abs(work[end]), 0, end))
        host, limits = self.kinds.hosts[kind], self.limits[kind][after]
        while first < end and stage_bytes(self.totals, first, end, limits, host.threads) > host.available_bytes:
            first += 1
        return first if first < end and (left or first == 0) else None


def assign_ranks(cuts: Sequence[Cut], kinds: Kinds) -> list[tuple[int, int, int]]:
    """(rank, first, last + 1) for each cut: within a kind, ranks in ascending order."""
    taken: Counter[int] = Counter()
    stages = []
    for kind, first, last in cuts:
        stages.append((kinds.members[kind][taken[kind]], first, last))
        taken[kind] += 1
    return stages


def _trace(used: State, trail: Sequence[Reach]) -> list[Cut]:
    cuts: list[Cut] = []
    for level in reversed(trail):
        cut = level[used][1]
        assert cut is not None
        cuts.append(cut)
        used = (*used[: cut[0]], used[cut[0]] - 1, *used[cut[0] + 1 :])
    return cuts


def _stage_times(totals: Totals, kinds: Kinds) -> list[float]:
    times = []
    for host in kinds.hosts:
        work = np.array([stage_seconds(totals, 0, j, host) for j in range(totals.layers + 1)])
        times.append((work[None, :] - work[:, None])[np.triu_indices(len(work), 1)])
    return [float(time) for time in np.unique(np.concatenate(times))]


def _signature(host: Host, rounding: float) -> tuple[float, ...]:
    values = (host.matrix_flops, host.elements, float(host.threads), float(host.available_bytes))
    if not rounding:
        return values
    return tuple(round(math.log(value) / math.log1p(rounding)) for value in values)


def _least(group: Sequence[Host]) -> Host:
    return replace(
        group[0],
        matrix_flops=min(host.matrix_flops for host in group),
        elements=min(host.elements for host in group),
        threads=min(host.threads for host in group),
        available_bytes=min(host.available_bytes for host in group),
    )
