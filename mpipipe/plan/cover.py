"""Only the slowest stage: how far every multiset of kinds reaches within a bound. One number a state, so quick.

From the last layer backwards, a host within the bound takes as many layers as it can; taking fewer never helps those
before it. So the farthest that S + u reaches is the farthest that u reaches from where S does, over all u in it. Links
and round trips are left out: it is a bound from below, exact where these do not matter (Pinar and Aykanat 2004).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.kinds import Level, count_states, multisets
from mpipipe.plan.reach import Mode, Tables

FINE, COARSE = 1e-9, 1e-4
MOST_STATES = 200_000
"""States that are looked at; more take too much memory."""
SPACED = 10
"""Numbers of hosts that orders are made for."""


def least_period(tables: Tables, levels: Sequence[Level]) -> float:
    """A bound, in seconds, that no plan's period can be below, to within FINE; infinite where nothing fits."""
    return _bracket(tables, levels, None, FINE)[0]


def period_of(tables: Tables, levels: Sequence[Level], hosts: int) -> float:
    """A period, in seconds, that so many hosts keep, links and round trips left out, at most COARSE above their
    least; infinite where nothing fits."""
    return _bracket(tables, levels, hosts, COARSE)[1]


def _bracket(tables: Tables, levels: Sequence[Level], hosts: int | None, fine: float) -> tuple[float, float]:
    """Seconds that are too few, and that are enough, with so many hosts if it is said."""
    high = max(float(mode.busy[-1]) for modes in tables.modes for mode in modes)
    low = 0.0
    if not _reaches(tables, levels, high, hosts):
        return np.inf, np.inf
    while high - low > fine * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _reaches(tables, levels, middle, hosts) else (middle, high)
    return low, high


def good_orders(tables: Tables, counts: Sequence[int]) -> Iterator[list[int]]:
    """Orders of kinds, first stage first, for several numbers of hosts: what reaches farthest within the least period,
    or the fastest hosts where there are too many kinds for that; as they come, and sorted by speed."""
    sizes = [len(kind) for kind in tables.kinds]
    speed = [min(float(mode.busy[-1]) for mode in modes) for modes in tables.modes]
    small = count_states(sizes) <= MOST_STATES
    levels = multisets(sizes, max(counts)) if small else []
    seen = set()
    for n in spaced(counts):
        for order in _reaching(tables, levels, n) if small else _fastest(tables, speed, n):
            for one in (order, sorted(order, key=lambda u: speed[u]), sorted(order, key=lambda u: -speed[u])):
                if tuple(one) not in seen:
                    seen.add(tuple(one))
                    yield list(one)


def spaced(counts: Sequence[int]) -> list[int]:
    """Some of the numbers, the first and last among them, farther apart the larger they are."""
    ordered = sorted(counts)
    if len(ordered) <= SPACED:
        return ordered
    places = np.geomspace(1, len(ordered), SPACED)
    return [ordered[place] for place in sorted({round(at) - 1 for at in places})]


def _reaching(tables: Tables, levels: Sequence[Level], n: int) -> Iterator[list[int]]:
    """Of n hosts, what reaches farthest within their least period, and a little more."""
    period = period_of(tables, levels[: n + 1], n)
    for slack in (1.0, 1.05) if np.isfinite(period) else ():
        reached = _cover(tables, levels[: n + 1], period * slack)
        if (reached[n] <= 0).any():
            yield _trace(tables, levels, reached, n, period * slack)


def _fastest(tables: Tables, speed: Sequence[float], n: int) -> Iterator[list[int]]:
    """The n fastest hosts, and the n with room for the most, as the early stages need it."""
    every = [u for u, kind in enumerate(tables.kinds) for _ in kind]
    room = [max(int((mode.most > 0).sum()) for mode in modes) for modes in tables.modes]
    yield sorted(every, key=lambda u: speed[u])[:n]
    yield sorted(every, key=lambda u: -room[u])[:n]


def _reaches(tables: Tables, levels: Sequence[Level], bound_s: float, hosts: int | None) -> bool:
    reached = _cover(tables, levels, bound_s)
    return any(bool((at <= 0).any()) for at in (reached if hosts is None else reached[hosts : hosts + 1]))


def _cover(tables: Tables, levels: Sequence[Level], bound_s: float) -> list[Array]:
    """For every level, the first layer that each state reaches to."""
    back = [_back(modes, bound_s) for modes in tables.modes]
    reached = [np.array([tables.layers])]
    for level in levels[1:]:
        at = np.full(len(level.counts), tables.layers)
        for u, (here, before) in enumerate(level.before):
            at[here] = np.minimum(at[here], back[u][reached[-1][before]])
        reached.append(at)
    return reached


def _back(modes: Sequence[Mode], bound_s: float) -> Array:
    """For each end of a stage, the least first layer; the end itself where no layer fits."""
    layers = len(modes[0].way) - 1
    least = np.arange(layers + 1)
    for mode in modes:
        fits = (mode.most > 0) & (mode.busy[None, :] - mode.busy[:-1, None] <= bound_s)
        first = np.where(fits.any(axis=0), fits.argmax(axis=0), np.arange(layers + 1))
        least = np.minimum(least, first)
    # A stage that ends further on, cut short, is one that ends here: what reaches far reaches farther from there.
    found: Array = np.minimum.accumulate(least[::-1])[::-1]
    return np.minimum(found, np.arange(layers + 1))


def _trace(tables: Tables, levels: Sequence[Level], reached: Sequence[Array], n: int, bound_s: float) -> list[int]:
    back = [_back(modes, bound_s) for modes in tables.modes]
    state, order = int(reached[n].argmin()), []
    for level in range(n, 0, -1):
        for u, (here, before) in enumerate(levels[level].before):
            rows = np.nonzero(here == state)[0]
            if len(rows) and back[u][reached[level - 1][before[rows[0]]]] == reached[level][state]:
                order.append(u)
                state = int(before[rows[0]])
                break
    return order
