"""GPipe: all forwards, then all backwards (Huang et al. 2019, section 2.3). Every stage keeps the whole batch."""

from mpipipe.schedule.actions import Pipeline, Schedule, alternate


def gpipe(pipeline: Pipeline) -> Schedule:
    """Limits are not asked: this schedule has all micro-batches in flight on every stage."""
    micros, stages = pipeline.micros, pipeline.stages
    lanes = tuple(alternate(micros, micros) for _ in range(stages))
    return Schedule("gpipe", micros, (micros,) * stages, lanes, pipeline.placement)
