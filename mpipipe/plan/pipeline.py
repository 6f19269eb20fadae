"""What the schedules are told of a plan."""

from mpipipe.plan.types import Plan
from mpipipe.schedule import Pipeline, StageCost


def pipeline_of(plan: Plan, samples: int) -> Pipeline:
    """For a batch of `samples`. Every rank makes its schedule from this, so it says nothing but what the plan says."""
    stages = plan.stages
    return Pipeline(
        micros=-(-samples // plan.micro_batch),
        placement=plan.placement,
        limits=tuple(stage.in_flight for stage in stages),
        costs=tuple(
            StageCost(stage.forward_s, stage.input_s + stage.forward_s * stage.recompute, stage.weight_s)
            for stage in stages
        ),
        message_s=tuple(stage.latency_s + stage.wire_s for stage in stages[:-1]),
        threads=tuple(stages[held[0]].threads for held in plan.placement),
        gradients=tuple(stage.gradients_in_flight for stage in stages),
    )
