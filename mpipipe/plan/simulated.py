"""A plan in time, from what it says itself: the step that it foretells, action by action."""

from mpipipe.plan.pipeline import hosts_of, pipeline_of, stage_costs
from mpipipe.plan.task_costs import boundary_transfers, task_seconds
from mpipipe.plan.types import Plan
from mpipipe.schedule import (
    SCHEDULES,
    Room,
    Simulation,
    Transfer,
    lower,
    sample_slots,
    simulate,
    whole_graph,
    wire,
)


def simulate_plan(plan: Plan, samples: int | None = None) -> Simulation:
    """One step of `samples`, or of a full batch, without the optimizer's update; lanes are those of `plan.lanes`."""
    pipeline = pipeline_of(plan, plan.batch if samples is None else samples)
    made = SCHEDULES[plan.schedule].make(pipeline)
    stages = plan.stages
    rooms = [Room(stage.in_flight, stage.gradients_in_flight, stage.weight_parts) for stage in stages]
    times = [task_seconds(cost, one.weight_parts) for cost, one in zip(stage_costs(plan), stages, strict=True)]
    transfers = boundary_transfers([Transfer(stage.latency_s, stage.wire_s) for stage in stages[:-1]])
    wiring = wire(whole_graph(lower(made), rooms, sample_slots(made.micros, stages[0].in_flight)))
    return simulate(wiring, times, pipeline.threads, transfers, hosts=hosts_of(plan))
