"""How many micro-batches each stage may have in flight: what there is to choose from, given stages and memory.

With round trip RT_s from a stage to the end and back, and a pipeline that ends a micro-batch every `period` seconds,
RT_s / period are on their way beyond stage s at any time: fewer, and it waits (planning by Little's law). More cost
memory and gain nothing. Where memory is short, a stage has what fits of it.
"""

import math
from collections.abc import Iterator, Sequence

from mpipipe.plan.closed import message_s, period_s, traverse_s
from mpipipe.plan.memory import most_in_flight
from mpipipe.plan.problem import Problem, StageChoice, ways

Limits = tuple[int, ...]


def wanted_limits(problem: Problem, stages: Sequence[StageChoice], most: int, recompute: str) -> Iterator[Limits]:
    """Limits by stage worth trying, none above `most` or what fits, the least first.

    The classic ones of 1F1B; what keeps the slowest stage at its rate; that with room for one on its way in and half
    as many again, since strict turns round what a stage waits up; as many on every stage as on the first of these; and
    all. Of each, what fits without recomputing, and what fits at all. Where that is less, one on each stage, too: it
    fits where anything does.
    """
    count = len(stages)
    slowest, trips = _rate(problem, stages)
    tight = [math.ceil(trip / slowest - 1e-9) for trip in trips]
    ample = _ample(problem, stages)
    fitting = [most_that_fit(problem, stages, most, policy) for policy in dict.fromkeys(("never", recompute))]
    tried: dict[Limits, None] = {}
    for each in ([count - s for s in range(count)], tight, ample, [ample[0]] * count, [most] * count):
        for fits in fitting:
            tried.setdefault(tuple(max(1, min(limit, fit)) for limit, fit in zip(each, fits, strict=True)))
    if min(map(min, fitting)) < most:
        tried.setdefault((1,) * count)
    yield from tried


def ample_limits(problem: Problem, stages: Sequence[StageChoice], most: int, recompute: str) -> Limits:
    """Of these, what keeps the slowest stage at its rate with some more, or as many as fit at all."""
    fits = most_that_fit(problem, stages, most, recompute)
    return tuple(max(1, min(limit, fit)) for limit, fit in zip(_ample(problem, stages), fits, strict=True))


def _ample(problem: Problem, stages: Sequence[StageChoice]) -> list[int]:
    slowest, trips = _rate(problem, stages)
    threads = [int(problem.threads[stage.host]) for stage in stages]
    return [math.ceil(1.5 * trip / slowest - 1e-9) + 1 + more for trip, more in zip(trips, threads, strict=True)]


def _rate(problem: Problem, stages: Sequence[StageChoice]) -> tuple[float, list[float]]:
    return max(period_s(problem, stage) for stage in stages) or 1.0, round_trips(problem, stages)


def most_that_fit(problem: Problem, stages: Sequence[StageChoice], most: int, recompute: str) -> Limits:
    """As many as fit on each stage, were it alone on its host; no less than one."""
    return tuple(
        max(1, min(most, max(most_in_flight(problem, way) for way in ways(stage, recompute)))) for stage in stages
    )


def round_trips(problem: Problem, stages: Sequence[StageChoice]) -> list[float]:
    """Seconds of a micro-batch from each stage to the last and back."""
    trips, trip = [], 0.0
    for s in reversed(range(len(stages))):
        if s + 1 < len(stages):
            trip += 2 * message_s(problem, stages[s], stages[s + 1])
        trip += traverse_s(problem, stages[s])
        trips.append(trip)
    return trips[::-1]
