"""Forwards only: for evaluating and predicting."""

from mpipipe.schedule.actions import Action, Kind, Lane, Pipeline, Placement, Schedule, lane_of


def forward(pipeline: Pipeline) -> Schedule:
    """Every stage forwards every micro-batch in order; a micro-batch is in flight until it is sent on.

    A rank with several chunks takes what stands first on the way through the stages, micro-batch by micro-batch.
    """
    micros = pipeline.micros
    lanes = tuple(_lane(micros, pipeline.placement, lane) for lane in range(len(pipeline.placement)))
    limits = tuple(min(micros, limit) for limit in pipeline.limits)
    return Schedule("forward", micros, limits, lanes, pipeline.placement)


def _lane(micros: int, placement: Placement, lane: int) -> Lane:
    """By the moment at which a micro-batch would come to the chunk, were every stage as fast as any."""
    mine = [(stage, chunk) for stage, (held, chunk) in enumerate(lane_of(placement)) if held == lane]
    coming = sorted((micro + stage, -stage, micro, chunk) for stage, chunk in mine for micro in range(micros))
    return tuple(Action(Kind.F, micro, chunk) for _, _, micro, chunk in coming)
