"""How many micro-batches each stage may have in flight: what there is to choose from, given stages and memory.

With round trip RT_s from a stage to the end and back, and a pipeline that ends a micro-batch every `period` seconds,
RT_s / period are on their way beyond stage s at any time: fewer, and it waits (planning by Little's law). More cost
memory and gain nothing.
"""

import math
from collections.abc import Iterator, Sequence

from mpipipe.plan.closed import message_s, period_s, traverse_s
from mpipipe.plan.problem import Problem, StageChoice

Limits = tuple[int, ...]


def wanted_limits(problem: Problem, stages: Sequence[StageChoice], most: int) -> Iterator[Limits]:
    """Limits by stage worth trying, none above `most`, the least first.

    The classic ones of 1F1B; what keeps the slowest stage at its rate, with room for one on its way in and half as many
    again, since strict turns round what a stage waits up; as many on every stage as on the first of these; and all.
    """
    count = len(stages)
    threads = [int(problem.threads[stage.host]) for stage in stages]
    slowest = max(period_s(problem, stage) for stage in stages) or 1.0
    roomy = [
        math.ceil(1.5 * trip / slowest - 1e-9) + 1 + more
        for trip, more in zip(round_trips(problem, stages), threads, strict=True)
    ]
    tried = set()
    for each in ([count - s for s in range(count)], roomy, [roomy[0]] * count, [most] * count):
        limits = tuple(max(1, min(most, limit)) for limit in each)
        if limits not in tried:
            tried.add(limits)
            yield limits


def round_trips(problem: Problem, stages: Sequence[StageChoice]) -> list[float]:
    """Seconds of a micro-batch from each stage to the last and back."""
    trips, trip = [], 0.0
    for s in reversed(range(len(stages))):
        if s + 1 < len(stages):
            trip += 2 * message_s(problem, stages[s], stages[s + 1])
        trip += traverse_s(problem, stages[s])
        trips.append(trip)
    return trips[::-1]
