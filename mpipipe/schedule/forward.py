"""Forwards only: for evaluating and predicting."""

from collections.abc import Sequence

from mpipipe.schedule.actions import Action, Kind, Schedule


def forward(stages: int, micros: int, in_flight: Sequence[int]) -> Schedule:
    """Every stage forwards every micro-batch in order; a micro-batch is in flight until it is sent on."""
    lane = tuple(Action(Kind.F, micro) for micro in range(micros))
    return Schedule("forward", micros, tuple(min(micros, limit) for limit in in_flight), (lane,) * stages)
