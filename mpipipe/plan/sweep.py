"""Sweeping: where there are few, all orders of hosts and all cuts that may be faster than what was found.

The most promising come first. Each is priced with every schedule, roomy; those that come near, with other limits.
"""

from collections.abc import Iterator, Sequence

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.improve import improve, improve_limits
from mpipipe.plan.least import FEW_WAYS, by_promise, count_ways
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.priced import price_all, price_roomy
from mpipipe.schedule import SCHEDULES

NODES = 300_000
"""Nodes to simulate at the most for the ways of one stage a rank, and for those of each schedule with several."""
WORTH = 0.005
"""By how much a way must promise to be faster to be looked at."""
NEARLY = 1.05
"""Up to how much slower than the best a way is tried with other limits."""


def sweep(prices: Prices, what: Allowed, found: Sequence[Candidate]) -> Iterator[Candidate]:
    """What is faster than all that was found."""
    best = min(found, key=lambda one: one.step_s)
    for names in filter(None, (what.single, *((name,) for name in what.chunked))):
        better = _sweep(prices, what, names, best)
        if better is not best:
            best = improve(prices, better, what.counts, what.most, prices.nodes + NODES)
            yield best


def _sweep(prices: Prices, what: Allowed, names: Sequence[str], best: Candidate) -> Candidate:
    """Schedules that place stages in the same way."""
    recipe, end = SCHEDULES[names[0]], prices.nodes + NODES
    counts = [count for count in what.counts if recipe.chunks == 1 or count > 1]
    if count_ways(prices.problem, counts, recipe.chunks) > FEW_WAYS:
        return best
    enough_s = best.step_s * (1 - WORTH)
    for least_s, stages in by_promise(prices.problem, counts, recipe.place, recipe.chunks, enough_s):
        if least_s >= best.step_s * (1 - WORTH) or prices.nodes >= end:
            break
        roomy = [price_roomy(prices, name, stages, what.most) for name in names]
        near = [one for one in roomy if one is not None and one.step_s < best.step_s * NEARLY]
        for one in near:
            each = price_all(prices, stages, [one.schedule], what.most) if recipe.chunks == 1 else (one,)
            priced = min(each, key=lambda one: one.step_s)
            if priced.step_s < best.step_s * NEARLY:
                best = min(best, improve_limits(prices, priced, what.most, end), key=lambda one: one.step_s)
    return best
