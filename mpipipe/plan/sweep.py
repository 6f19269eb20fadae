"""Sweeping: where there are few, all orders of hosts and all cuts that may be faster than what was found.

The most promising come first. Each is priced with every schedule and as many in flight as fit, and where that comes
near, with other limits; then with several limits; then, where these are few, with all limits that may be of use.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.improve import improve, improve_limits
from mpipipe.plan.least import FEW_WAYS, by_promise, count_ways, promising_limits
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.priced import price_all, price_roomy
from mpipipe.plan.problem import Stages
from mpipipe.schedule import SCHEDULES

Price = Callable[[Prices, str, Stages, int, float], Iterator[Candidate]]
"""Candidates of a schedule and stages, with at most so many in flight, that may take less than so many seconds."""

NODES = 600_000
"""Nodes to simulate at the most in each pass."""
LOOKING = 100
"""What takes as long as simulating so many nodes: for each stage, finding the limits worth a try, tried or not."""
WORTH = 0.005
"""By how much a way must promise to be faster to be looked at."""
NEARLY = 1.05
"""Up to how much slower than the best a way is tried with other limits."""


def sweep(prices: Prices, what: Allowed, found: Sequence[Candidate]) -> Iterator[Candidate]:
    """What is faster than all that was found."""
    best = min(found, key=lambda one: one.step_s, default=None)
    passes: list[tuple[Sequence[str], Price]] = [(what.single, price_room), (what.single, price_some)]
    passes += [((name,), price_room) for name in what.chunked]
    passes += [([name for name in what.single if name != "gpipe"], price_promising)]
    for names, price in passes:
        better = _sweep(prices, what, names, price, best) if names else best
        if better is not None and better is not best:
            best = improve(prices, better, what, prices.nodes + NODES)
            yield best


def _sweep(
    prices: Prices, what: Allowed, names: Sequence[str], price: Price, best: Candidate | None
) -> Candidate | None:
    """Schedules that place stages in the same way."""
    recipe, end = SCHEDULES[names[0]], prices.nodes + NODES
    counts = [count for count in what.counts if recipe.chunks == 1 or count > 1]
    if count_ways(prices.problem, counts, recipe.chunks) > FEW_WAYS:
        return best
    enough_s, near_s = _aims(best)
    ways = by_promise(prices.problem, counts, recipe.place, recipe.chunks, enough_s, prices.recompute)
    for least_s, stages in ways:
        if least_s >= enough_s or prices.nodes >= end:
            break
        for name in names:
            prices.nodes += LOOKING * len(stages)
            priced = min(price(prices, name, stages, what.most, enough_s), key=lambda one: one.step_s, default=None)
            if priced is not None and priced.step_s < near_s:
                other = improve_limits(prices, priced, what.most, end)
                best = other if best is None else min(best, other, key=lambda one: one.step_s)
                enough_s, near_s = _aims(best)
    return best


def _aims(best: Candidate | None) -> tuple[float, float]:
    """Seconds that a way must promise to be below, and that it must come near to be tried with other limits."""
    return (best.step_s * (1 - WORTH), best.step_s * NEARLY) if best is not None else (math.inf, math.inf)


def price_some(prices: Prices, name: str, stages: Stages, most: int, _: float) -> Iterator[Candidate]:
    """With several limits."""
    return price_all(prices, stages, [name], most)


def price_room(prices: Prices, name: str, stages: Stages, most: int, _: float) -> Iterator[Candidate]:
    """With as many in flight as fit, or with the limits that a schedule with several stages a rank has itself."""
    priced = price_roomy(prices, name, stages, most)
    return iter([priced] if priced is not None else [])


def price_promising(prices: Prices, name: str, stages: Stages, most: int, enough_s: float) -> Iterator[Candidate]:
    """With all limits that may take less than `enough_s`, where they are few."""
    wanted = promising_limits(prices.problem, stages, most, enough_s, prices.recompute)
    every = (prices.of(name, stages, limits) for limits in wanted)
    return (one for one in every if one is not None)
