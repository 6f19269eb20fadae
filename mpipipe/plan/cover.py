"""Only the slowest stage: how far every multiset of kinds reaches within a bound. One number a state, so quick.

From the last layer backwards, a host within the bound takes as many layers as it can; taking fewer never helps those
before it. So the farthest that S + u reaches is the farthest that u reaches from where S does, over all u in it. Links
and round trips are left out: it is a bound from below, exact where these do not matter (Pinar and Aykanat 2004).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.kinds import Level, multisets
from mpipipe.plan.reach import Mode, Tables

FINE = 1e-9


def least_period(tables: Tables, levels: Sequence[Level]) -> float:
    """A bound that no plan's period can be below, to within FINE; infinite where nothing fits."""
    high = max(float(mode.busy[-1]) for modes in tables.modes for mode in modes)
    low = 0.0
    if not _reaches(tables, levels, high):
        return np.inf
    while high - low > FINE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _reaches(tables, levels, middle) else (middle, high)
    return low


def good_orders(tables: Tables, counts: Sequence[int]) -> Iterator[list[int]]:
    """Orders of kinds, first stage first: what reaches farthest within the least period, and that sorted by speed."""
    sizes = [len(kind) for kind in tables.kinds]
    speed = [min(float(mode.busy[-1]) for mode in modes) for modes in tables.modes]
    levels = multisets(sizes, max(counts))
    period = least_period(tables, levels)
    if not np.isfinite(period):
        return
    seen = set()
    for slack in (1.0, 1.01, 1.05):
        reached = _cover(tables, levels, period * slack * (1 + 10 * FINE))
        done = [n for n in counts if n < len(reached) and (reached[n] <= 0).any()]
        for n in sorted({min(done, default=0), max(done, default=0)} - {0}):
            order = _trace(tables, levels, reached, n, period * slack * (1 + 10 * FINE))
            for one in (order, sorted(order, key=lambda u: speed[u]), sorted(order, key=lambda u: -speed[u])):
                if tuple(one) not in seen:
                    seen.add(tuple(one))
                    yield list(one)


def _reaches(tables: Tables, levels: Sequence[Level], bound_s: float) -> bool:
    return any(bool((at <= 0).any()) for at in _cover(tables, levels, bound_s))


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
