"""Stages priced: with several schedules, and with the limits worth trying."""

from collections.abc import Iterator, Sequence

from mpipipe.plan.limits import Limits, ample_limits, most_that_fit, wanted_limits
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.problem import Stages
from mpipipe.plan.spread import spread
from mpipipe.schedule import SCHEDULES


def price_all(prices: Prices, stages: Stages, names: Sequence[str], most: int) -> Iterator[Candidate]:
    """The stages with every schedule named and all limits that fit."""
    for name in names:
        limits: list[Limits] = list(wanted_limits(prices.problem, stages, most, prices.recompute))
        if name == "gpipe":
            limits = [(prices.problem.micros,) * len(stages)]
        for wanted in limits:
            priced = prices.of(name, stages, wanted)
            if priced is not None:
                yield priced


def price_roomy(prices: Prices, name: str, stages: Stages, most: int) -> Candidate | None:
    """With as many in flight as fit, which hold nothing up."""
    return prices.of(name, stages, most_that_fit(prices.problem, stages, most, prices.recompute))


def price_ample(prices: Prices, name: str, stages: Stages, most: int) -> Iterator[Candidate]:
    """With limits that hold nothing up, if they fit: as many as there may be, and no more than there need be."""
    for limit in (most_that_fit, ample_limits):
        priced = prices.of(name, stages, limit(prices.problem, stages, most, prices.recompute))
        if priced is not None:
            yield priced


def price_dealt(prices: Prices, name: str, hosts: Sequence[int], most: int) -> Candidate | None:
    """A schedule with several stages a rank on these hosts, in this order."""
    recipe = SCHEDULES[name]
    count = len(hosts) * recipe.chunks
    if count > len(prices.ground.names) or len(hosts) == 1:
        return None
    stages = spread(prices.problem, hosts, recipe.place(len(hosts), count))
    return prices.of(name, stages, (most,) * count)
