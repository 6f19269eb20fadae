"""1F1B: a stage does a backward as soon as it has its limit in flight (Narayanan et al. 2019, section 3.2).

The classic limits are stages - s; larger ones keep the rate on slow links and several worker threads busy. No stage
gets a higher limit than the one before it: it would wait for micro-batches that the other may not begin.
"""

from collections.abc import Sequence
from itertools import accumulate

from mpipipe.schedule.actions import Schedule, alternate


def one_f_one_b(stages: int, micros: int, in_flight: Sequence[int]) -> Schedule:
    """One limit for each stage."""
    limits = tuple(accumulate((max(1, min(micros, limit)) for limit in in_flight), min))
    return Schedule("1f1b", micros, limits, tuple(alternate(micros, limits[stage]) for stage in range(stages)))
