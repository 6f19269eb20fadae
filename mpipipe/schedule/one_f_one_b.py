"""1F1B: a stage does a backward as soon as it has its limit in flight (Narayanan et al. 2019, section 3.2).

The classic limits are stages - s; larger ones keep the rate on slow links and several worker threads busy. No stage
gets a higher limit than the one before it: it would wait for micro-batches that the other may not begin.
"""

from itertools import accumulate

from mpipipe.schedule.actions import Pipeline, Schedule, alternate


def one_f_one_b(pipeline: Pipeline) -> Schedule:
    """One limit for each stage."""
    micros = pipeline.micros
    limits = tuple(accumulate((max(1, min(micros, limit)) for limit in pipeline.limits), min))
    return Schedule("1f1b", micros, limits, tuple(alternate(micros, limit) for limit in limits), pipeline.placement)
