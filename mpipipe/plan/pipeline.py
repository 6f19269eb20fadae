"""What the schedules are told of a plan."""

from mpipipe.plan.sharing import Place, shared_cores, slowdowns, slowed_cost, task_overheads
from mpipipe.plan.types import Plan
from mpipipe.schedule import Hosts, Pipeline, StageCost, lane_of


def pipeline_of(plan: Plan, samples: int) -> Pipeline:
    """For a batch of `samples`. Every rank makes its schedule from this, so it says nothing but what the plan says."""
    stages = plan.stages
    slower = slowdowns(_places(plan))
    return Pipeline(
        micros=-(-samples // plan.micro_batch),
        placement=plan.placement,
        limits=tuple(stage.in_flight for stage in stages),
        costs=tuple(
            slowed_cost(cost, slower[lane], stage.sleeping)
            for cost, stage, (lane, _) in zip(stage_costs(plan), stages, lane_of(plan.placement), strict=True)
        ),
        message_s=tuple(stage.latency_s + stage.wire_s for stage in stages[:-1]),
        threads=tuple(stages[held[0]].threads for held in plan.placement),
        gradients=tuple(stage.gradients_in_flight for stage in stages),
    )


def stage_costs(plan: Plan) -> list[StageCost]:
    """Seconds of each stage for a thread with a core of its own; recomputing adds F to I."""
    return [
        StageCost(stage.forward_s, stage.input_s + stage.forward_s * stage.recompute, stage.weight_s)
        for stage in plan.stages
    ]


def hosts_of(plan: Plan) -> Hosts:
    """What a simulation must know of the plan's hosts."""
    feeder = plan.lanes.index(0) if 0 in plan.lanes else -1
    places, sleeping = _places(plan), tuple(stage.sleeping for stage in plan.stages)
    by_lane = task_overheads(places)
    overhead_s = tuple(by_lane[lane] for lane, _ in lane_of(plan.placement))
    return Hosts(shared_cores(places), sleeping, feeder, plan.load_s, overhead_s)


def _places(plan: Plan) -> list[Place]:
    firsts = [plan.stages[held[0]] for held in plan.placement]
    return [Place(stage.pool or stage.host, stage.threads, stage.cores, stage.period_s) for stage in firsts]
