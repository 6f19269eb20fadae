"""What a simulation is given of stages: seconds of their tasks, and of the messages between them."""

from collections.abc import Sequence

from mpipipe.layers.parts import count_parts
from mpipipe.plan.problem import Problem, StageChoice
from mpipipe.schedule import Kind, StageCost, Transfer


def stage_cost(problem: Problem, stage: StageChoice) -> StageCost:
    """Seconds of one thread; recomputing adds F to I."""
    forward, back, weight = problem.seconds(stage)
    return StageCost(forward, back + forward * stage.recompute, weight)


def weight_parts(problem: Problem, stage: StageChoice) -> int:
    """Tasks that W is reckoned as: one for each thread, but no more than the stage's layers give."""
    layers = slice(stage.first, stage.last)
    return min(int(problem.threads[stage.host]), count_parts(problem.tiles[layers], problem.weight_flops[layers]))


def task_seconds(cost: StageCost, parts: int) -> dict[Kind, float]:
    """What each task takes, W being so many of them."""
    return {Kind.F: cost.forward_s, Kind.I: cost.input_s, Kind.W: cost.weight_s / max(1, parts)}


def transfer(problem: Problem, stage: StageChoice, after: StageChoice) -> Transfer:
    """A message from a stage to the one after it, or back."""
    latency = float(problem.latency_s[stage.host, after.host])
    return Transfer(latency, float(problem.boundary_bytes[stage.last - 1] / problem.bandwidth[stage.host, after.host]))


def boundary(problem: Problem, stages: Sequence[StageChoice], s: int) -> Transfer:
    """The message between stages s and s + 1; nothing after the last."""
    return transfer(problem, stages[s], stages[s + 1]) if s + 1 < len(stages) else Transfer()


def boundary_transfers(boundaries: Sequence[Transfer]) -> dict[tuple[Kind, int], Transfer]:
    """By the send's kind and stage: the same both ways."""
    there = {(Kind.SEND_ACT, s): one for s, one in enumerate(boundaries)}
    return there | {(Kind.SEND_GRAD, s + 1): one for s, one in enumerate(boundaries)}
