"""The exact search: which ranks hold which layers, in which order, so that the slowest stage is as fast as can be.

Hosts of one kind are alike, so what has been used is a multiset of kinds. Stages are built from the last to the first,
since how many micro-batches a stage must keep depends on how many stages follow it. For every multiset and every
layer, `Reach` holds the least time of the slowest stage with which the multiset covers that layer to the last one:
h(S + u, i) = min over j of max{ h(S, j), time of layers i to j - 1 on u }, as in PipeEdge (Hu et al. 2022).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mpipipe.layers import Array
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
Reach = dict[State, tuple[Array, Array, Array]]
"""For each state and each first layer: seconds of the slowest stage, kind and end of the first stage."""


@dataclass(frozen=True)
class Kinds:
    """Hosts grouped: the search plans with the `hosts` (one for each kind), `members` are the ranks of each kind.

    Members of one kind differ by at most `spread`.
    """

    hosts: tuple[Host, ...]
    members: tuple[tuple[int, ...], ...]
    spread: float


def group_hosts(hosts: Sequence[Host]) -> Kinds:
    """Kinds as fine as the search can hold: the two that differ least become one, until there are few enough."""
    groups = [[host] for host in hosts]
    differ = 0.0
    while len(groups) > 1:
        nearest = min(combinations(range(len(groups)), 2), key=lambda pair: _spread(groups[pair[0]] + groups[pair[1]]))
        spread = _spread(groups[nearest[0]] + groups[nearest[1]])
        if spread and math.prod(len(group) + 1 for group in groups) <= MOST_STATES:
            break
        differ = max(differ, spread)
        groups[nearest[0]] += groups.pop(nearest[1])
    return Kinds(
        tuple(_least(group) for group in groups),
        tuple(tuple(sorted(host.rank for host in group)) for group in groups),
        differ,
    )


def partition(totals: Totals, kinds: Kinds, stages: int, rule: LimitRule) -> list[Cut] | None:
    """The cuts of the best `stages` stages in pipeline order, or None where no choice fits every host's memory."""
    return Search(totals, kinds, rule).best(stages)


class Search:
    """The search for one rule; numbers of stages asked for one after another share the work."""

    def __init__(self, totals: Totals, kinds: Kinds, rule: LimitRule) -> None:
        self.totals, self.kinds, self.rule = totals, kinds, rule
        start, nobody = np.full(totals.layers + 1, np.inf), np.zeros(totals.layers + 1, np.intp)
        start[-1] = 0.0
        self.trail: list[Reach] = [{(0,) * len(kinds.hosts): (start, nobody, nobody)}]

    def best(self, stages: int) -> list[Cut] | None:
        """As `partition`."""
        for after in range(len(self.trail) - 1, stages):
            times = [_times(self.totals, host, self.rule(after, host)) for host in self.kinds.hosts]
            self.trail.append(_add_stage(self.trail[-1], self.kinds, times))
        reach = self.trail[stages]
        done = min(reach, key=lambda used: float(reach[used][0][0]))
        return None if math.isinf(reach[done][0][0]) else _trace(done, self.trail[: stages + 1])


def _times(totals: Totals, host: Host, limits: Limits) -> Array:
    """Seconds of a stage by its first layer and its last + 1; infinite where there is no such stage or no room."""
    first, last = np.triu_indices(totals.layers + 1, 1)
    fits = stage_bytes(totals, first, last, limits, host.threads) <= host.available_bytes
    times = np.full((totals.layers + 1, totals.layers + 1), np.inf)
    times[first, last] = np.where(fits, stage_seconds(totals, first, last, host), np.inf)
    return times


def _add_stage(reach: Reach, kinds: Kinds, times: Sequence[Array]) -> Reach:
    wider: Reach = {}
    for used, (slowest, _, _) in reach.items():
        for kind, count in enumerate(used):
            if count == len(kinds.members[kind]):
                continue
            either = np.maximum(slowest, times[kind])
            ends, least = either.argmin(axis=1), either.min(axis=1)
            grown = (*used[:kind], count + 1, *used[kind + 1 :])
            best, by, end = wider.get(grown, (np.inf, kind, ends))
            better = least < best
            wider[grown] = (np.minimum(least, best), np.where(better, kind, by), np.where(better, ends, end))
    return wider


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
    first = 0
    for level in reversed(trail[1:]):
        _, kinds, ends = level[used]
        kind, last = int(kinds[first]), int(ends[first])
        cuts.append((kind, first, last))
        used, first = (*used[:kind], used[kind] - 1, *used[kind + 1 :]), last
    return cuts


def _spread(group: Sequence[Host]) -> float:
    """By how much the hosts differ in what a plan looks at: 0.1 is 10%."""
    values = [(host.matrix_flops, host.elements, host.threads, max(1, host.available_bytes)) for host in group]
    return float(max(max(column) / min(column) for column in zip(*values, strict=True))) - 1


def _least(group: Sequence[Host]) -> Host:
    """As slow as the slowest, as small as the smallest, and with as many threads as any: they too take memory."""
    threads = max(host.threads for host in group)
    return replace(
        group[0],
        matrix_flops=min(host.matrix_flops * host.threads for host in group) / threads,
        elements=min(host.elements * host.threads for host in group) / threads,
        threads=threads,
        available_bytes=min(host.available_bytes for host in group),
    )
