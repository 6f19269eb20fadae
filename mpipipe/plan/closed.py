"""The closed form of a step: T = sum t + 2 sum c + (m - 1) max{ max t, max RT / K, max o / bw }.

One micro-batch goes through every stage and link, there and back; every further one adds what the slowest of them
needs: the busiest stage, the busiest link, or a stage s that has all its K_s micro-batches on their way, each for the
round trip RT_s from there to the end and back. That last term is for K_s < m only: a stage with room for the whole
batch never waits for room. The form is exact for GPipe where transfers overlap and gradients leave after W, and a
bound for 1F1B (chain-on-chain partitioning, Pinar and Aykanat 2004, with links and Little's law put in).
"""

from collections.abc import Sequence

from mpipipe.plan.memory import most_in_flight
from mpipipe.plan.problem import Choice, Problem, StageChoice

ALL, LIMITED = "all", "limited"
"""Families of schedules: every micro-batch in flight on every stage (gpipe), or as many as fit (all others)."""


def traverse_s(problem: Problem, stage: StageChoice) -> float:
    """Seconds that one micro-batch needs for F, I and W, W shared by the threads."""
    forward, back, weight = problem.seconds(stage)
    return forward * (1 + stage.recompute) + back + weight / float(problem.threads[stage.host])


def period_s(problem: Problem, stage: StageChoice) -> float:
    """Seconds that one micro-batch keeps all threads busy."""
    forward, back, weight = problem.seconds(stage)
    return (forward * (1 + stage.recompute) + back + weight) / float(problem.threads[stage.host])


def wire_s(problem: Problem, stage: StageChoice, after: StageChoice) -> float:
    """Seconds that a message to the stage after, or back, holds the wire."""
    return float(problem.boundary_bytes[stage.last - 1] / problem.bandwidth[stage.host, after.host])


def message_s(problem: Problem, stage: StageChoice, after: StageChoice) -> float:
    """Seconds of the message in all."""
    return float(problem.latency_s[stage.host, after.host]) + wire_s(problem, stage, after)


def closed_form(problem: Problem, stages: Sequence[StageChoice], limits: Sequence[int]) -> Choice:
    """The stages with these in-flight limits."""
    trip = busiest = 0.0
    for s in reversed(range(len(stages))):
        if s + 1 < len(stages):
            trip += 2 * message_s(problem, stages[s], stages[s + 1])
            busiest = max(busiest, wire_s(problem, stages[s], stages[s + 1]))
        trip += traverse_s(problem, stages[s])
        busiest = max(busiest, period_s(problem, stages[s]))
        if limits[s] < problem.micros:
            busiest = max(busiest, trip / limits[s])
    return Choice(tuple(stages), trip + (problem.micros - 1) * busiest, trip, busiest)


def at_most(problem: Problem, stages: Sequence[StageChoice], family: str) -> Choice | None:
    """With as many in flight as fit; None where a stage does not fit."""
    limits = [most_in_flight(problem, stage) for stage in stages]
    if min(limits) < (problem.micros if family == ALL else 1):
        return None
    return closed_form(problem, stages, limits)
