"""A plan in time, from what it says itself: the step that it foretells, action by action."""

from mpipipe.plan.pipeline import pipeline_of
from mpipipe.plan.price import boundary_transfers, task_seconds
from mpipipe.plan.types import Plan
from mpipipe.schedule import SCHEDULES, Room, Simulation, Transfer, lower, simulate, whole_graph, wire


def simulate_plan(plan: Plan, samples: int | None = None) -> Simulation:
    """One step of `samples`, or of a full batch, without the optimizer's update; lanes are those of `plan.lanes`."""
    pipeline = pipeline_of(plan, plan.batch if samples is None else samples)
    made = SCHEDULES[plan.schedule].make(pipeline)
    stages = plan.stages
    rooms = [Room(stage.in_flight, stage.gradients_in_flight, stage.weight_parts) for stage in stages]
    times = [task_seconds(cost, stage.weight_parts) for cost, stage in zip(pipeline.costs, stages, strict=True)]
    transfers = boundary_transfers([Transfer(stage.latency_s, stage.wire_s) for stage in stages[:-1]])
    return simulate(wire(whole_graph(lower(made), rooms, made.micros)), times, pipeline.threads, transfers)
