"""ZB-H1: W waits until there is nothing better to do, as long as memory allows (Qi et al. 2023, section 2.3).

On equal stages with free messages, stage s of p begins with p - s forwards, as 1F1B, and its W are s micro-batches
behind its I: at most p are in flight on every stage, and the bubble is (p - 1)(F + I - W). Larger limits are spent on
more forwards at the beginning, up to twice as many less one, which is ZB-H2 at limits of 2p - 1, and then on later W.
Slow links and several threads need more in flight for the full rate; that many stand for the p and p - s above.
"""

from itertools import accumulate
from math import ceil

from mpipipe.schedule.actions import Action, Kind, Lane, Pipeline, Schedule

CLOSE = 1e-9
"""Rounding of a quotient of times that is a whole number."""


def zb_h1(pipeline: Pipeline) -> Schedule:
    """A limit is used to the full."""
    micros = pipeline.micros
    limits = tuple(max(1, min(micros, limit)) for limit in pipeline.limits)
    needed = _needed(pipeline)
    begun = [
        min(limit, need + min(max(0, limit - needed[0]), need - 1)) for limit, need in zip(limits, needed, strict=True)
    ]
    # As in 1F1B, no stage may wait for more than the one before it begins.
    firsts = accumulate(begun, min)
    lanes = tuple(_lane(micros, first, limit - first) for first, limit in zip(firsts, limits, strict=True))
    return Schedule("zb-h1", micros, limits, lanes, pipeline.placement)


def _needed(pipeline: Pipeline) -> list[int]:
    """For every stage, the micro-batches that are on their way there and back while one passes the slowest stage."""
    each = [cost.forward_s + cost.input_s + cost.weight_s for cost in pipeline.costs]
    period = max(t / threads for t, threads in zip(each, pipeline.threads, strict=True))
    links = [*pipeline.message_s, 0.0]
    steps = [ceil((t + 2 * c) / period - CLOSE) if period else 1 for t, c in zip(each, links, strict=True)]
    return list(accumulate(max(1, step) for step in reversed(steps)))[::-1]


def _lane(micros: int, first: int, behind: int) -> Lane:
    """`first` forwards, then an I, the W that is `behind` it and a forward in turn, then what is left."""
    lane = [Action(Kind.F, micro) for micro in range(min(first, micros))]
    for micro in range(micros):
        lane.append(Action(Kind.I, micro))
        if micro >= behind:
            lane.append(Action(Kind.W, micro - behind))
        if micro + first < micros:
            lane.append(Action(Kind.F, micro + first))
    return (*lane, *(Action(Kind.W, micro) for micro in range(max(0, micros - behind), micros)))
