"""GPipe: all forwards, then all backwards (Huang et al. 2019, section 2.3). Every stage keeps the whole batch."""

from collections.abc import Sequence

from mpipipe.schedule.actions import Schedule, alternate


def gpipe(stages: int, micros: int, in_flight: Sequence[int]) -> Schedule:
    """`in_flight` is not asked: this schedule has all micro-batches in flight on every stage."""
    lanes = tuple(alternate(micros, micros) for _ in range(stages))
    return Schedule("gpipe", micros, (micros,) * stages, lanes)
