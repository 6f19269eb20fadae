"""The exact search: hosts, their order, cuts and recomputation, so that the closed form is least.

The closed form is a sum (one micro-batch's way) and m - 1 times a maximum (the period). For a bound on the maximum,
`reach` finds the least sum; so T(bound) = way(bound) + (m - 1) bound, and the way can only fall as the bound rises. The
bounds are searched by branch and bound: between two of them no plan takes less than the way at the upper one and m - 1
periods of the lower one. A plan found at a bound attains a period of its own, which cuts the interval further.

Order free, the problem is NP-complete in the number of kinds of hosts (Benoit and Robert 2008), but shelves are small:
the states are multisets of kinds, 512 for nine hosts all different. Where there are too many, the best orders of kinds
for the slowest stage are found first (`cover`), for several numbers of hosts, and only the few of these that promise
most are searched; `bound` says how far from the best that may be.
"""

import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from mpipipe.plan.closed import at_most
from mpipipe.plan.cover import good_orders, least_period, period_of
from mpipipe.plan.kinds import Level, count_states, group_hosts, multisets, one_order
from mpipipe.plan.problem import Choice, Problem
from mpipipe.plan.reach import Reach, Tables, tabulate

MOST_CELLS = 2_000_000
"""States times kinds times layers that are searched whole: 10 hosts all different and 100 layers have half of it."""
FEW_CELLS = 30_000
"""Up to so many cells the search goes on until it is exact to the last digit, beyond until it is to within 1e-5."""
MOST_BOUNDS = 200
"""Bounds that are tried at the most; then the best so far is taken."""
NOTHING = 1e-9
"""Periods of this part of the longest and less are taken for none."""
GLANCES = (1.02, 1.1, 1.3)
"""Periods that orders are judged by, over the least of each."""
PROMISING = 6
"""Orders that are searched."""
NEAR = 1.25
"""How much longer than the best other proposals may take."""
EACH = 6
"""Proposals with the same number of hosts."""


def best(
    problem: Problem, family: str, counts: Sequence[int], recompute: str = "auto", near: float = 0.0
) -> Choice | None:
    """The best choice with any of these numbers of hosts, each used once; None where nothing fits. A search that needs
    only come `near`, as a fraction, is quicker; near 1 is whatever fits."""
    found = front(problem, family, counts, recompute, near=near)
    return found[0] if found else None


def front(
    problem: Problem, family: str, counts: Sequence[int], recompute: str = "auto", most: int = 16, near: float = 0.0
) -> tuple[Choice, ...]:
    """The best choice, then others met on the way that are nearly as good: with other periods or numbers of hosts."""
    kinds = group_hosts(problem)
    tables = tabulate(problem, kinds, family, recompute)
    sizes = [len(kind) for kind in kinds]
    hosts = min(max(counts), problem.layers)
    found: dict[object, Choice] = {}
    cells = count_states(sizes) * len(kinds) * problem.layers
    near = max(near, 1e-12 if cells <= FEW_CELLS else 1e-5)
    if cells <= MOST_CELLS:
        _descend(_Meetings(problem, family, tables, multisets(sizes, hosts), found), counts, near)
    else:
        for met, count in _most_promising(problem, family, tables, counts, found):
            _descend(met, [count], near)
    ranked = sorted(found.values(), key=lambda choice: (choice.seconds, len(choice.stages)))
    near_ones = [choice for choice in ranked if choice.seconds <= NEAR * ranked[0].seconds]
    return tuple(one for n, one in enumerate(near_ones) if place_among_its_like(near_ones, n) < EACH)[:most]


def place_among_its_like(choices: Sequence[Choice], n: int) -> int:
    """How many before the n-th have as many stages as it has."""
    return sum(len(one.stages) == len(choices[n].stages) for one in choices[:n])


class _Meetings:
    """What the search meets on its way: choices by their stages."""

    def __init__(
        self, problem: Problem, family: str, tables: Tables, levels: Sequence[Level], found: dict[object, Choice]
    ) -> None:
        self.problem, self.family, self.tables, self.levels, self.found = problem, family, tables, levels, found

    @property
    def top(self) -> float:
        """Seconds of the best until now."""
        return min((choice.seconds for choice in self.found.values()), default=np.inf)

    def meet(self, bound_s: float, counts: Sequence[int]) -> tuple[float, float]:
        """The least way within the bound, and the least period of the choices that have it."""
        reach = Reach(self.tables, self.levels, bound_s)
        ways, least, period = reach.ways(), np.inf, np.inf
        for n in counts:
            if n < len(ways) and np.isfinite(ways[n]):
                choice = at_most(self.problem, reach.trace(n), self.family)
                assert choice is not None
                self.found.setdefault(choice.stages, choice)
                if ways[n] < least:
                    least, period = float(ways[n]), choice.period_s
        return least, period


def _most_promising(
    problem: Problem, family: str, tables: Tables, counts: Sequence[int], found: dict[object, Choice]
) -> list[tuple[_Meetings, int]]:
    """Of the good orders those that a glance at each, a little above its least period, finds best."""
    seen = []
    for n, order in enumerate(good_orders(tables, counts)):
        met = _Meetings(problem, family, tables, one_order(order, len(tables.kinds)), found)
        period, least = period_of(tables, met.levels, len(order)), np.inf
        for slack in GLANCES if np.isfinite(period) else ():
            way, attained = met.meet(period * slack, [len(order)])
            least = min(least, way + (problem.micros - 1) * attained)
        seen += [(least, n, met, len(order))]
    return [(met, count) for _, _, met, count in sorted(seen)[:PROMISING]]


def _descend(met: _Meetings, counts: Sequence[int], near: float) -> None:
    """Branch and bound over the bounds, intervals of least promise last."""
    tables, rest = met.tables, met.problem.micros - 1
    floor = least_period(tables, met.levels)
    if not np.isfinite(floor):
        return
    shortest = sum(min(np.diff(mode.way)[i] for modes in tables.modes for mode in modes) for i in range(tables.layers))
    ceiling = _total(tables)
    tried = 0
    queue: list[tuple[float, float, float, float]] = [(shortest + rest * floor, floor, ceiling, shortest)]
    for guess in _first_guesses(floor, ceiling) if near < 1 else [ceiling]:
        tried += 1
        if np.isfinite(met.meet(guess, counts)[0]):
            break
    else:
        return
    while queue and tried < MOST_BOUNDS:
        promise, low, high, way = heapq.heappop(queue)
        if promise >= met.top * (1 - near):
            return
        tried += 1
        middle = _between(low, high, way, rest, met.top)
        least, period = met.meet(middle, counts)
        # Above the bound, no way is shorter than `way`; within it, none than `least`, and none so short has less than
        # its period, so that only smaller periods are left to look at.
        if middle < high:
            above = np.nextafter(middle, np.inf)
            heapq.heappush(queue, (way + rest * above, above, high, way))
        below = np.nextafter(min(period, middle), 0.0)
        if np.isfinite(least) and low <= below:
            heapq.heappush(queue, (least + rest * low, low, float(below), least))


def _first_guesses(floor: float, ceiling: float) -> Iterator[float]:
    """Bounds to begin with, from the least that a plan could have on."""
    guess = max(floor, ceiling * NOTHING)
    while guess < ceiling:
        yield guess * 1.02
        guess *= 1.15
    yield ceiling


def _between(low: float, high: float, way: float, rest: int, top: float) -> float:
    """A bound inside the interval: where a plan would have to be below to beat the best, or its middle."""
    if rest and np.isfinite(top):
        high = min(high, (top - way) / rest)
    return max(low, (low + high) / 2)


def _total(tables: Tables) -> float:
    """No period, and no round trip, is longer."""
    slowest = float(np.max([np.diff(mode.way) for modes in tables.modes for mode in modes], axis=0).sum())
    tolls = 2 * float((tables.latency + tables.wire).max(axis=(0, 1)).sum())
    return (slowest + tolls) * (1 + 1e-9)
