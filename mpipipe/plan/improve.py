"""From a good plan to a better one: small changes, each priced by simulation, while any helps.

The search finds the best plan by a closed form; what the simulation says of it differs a little. Changes are: a layer
from one stage to its neighbour, two hosts that change places, an unused host for a used one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from mpipipe.plan.price import Candidate, Prices, stage_cost
from mpipipe.plan.problem import Problem, StageChoice, Stages

GAIN = 1e-6
"""By how much, of the step, a change must be better."""
MANY = 12
"""Stages beyond which only those places are looked at that touch the slowest stage."""


def improve(prices: Prices, start: Candidate, most_nodes: int) -> Candidate:
    """The best that such changes lead to, with the same limits, simulating no more than `most_nodes` nodes."""
    best, end = start, prices.nodes + most_nodes
    while True:
        better = _first_better(prices, best, end)
        if better is None:
            return best
        best = better


def _first_better(prices: Prices, best: Candidate, end: int) -> Candidate | None:
    for stages in changes(prices.problem, best.stages):
        if prices.nodes >= end:
            return None
        if least_seconds(prices.problem, stages) >= best.step_s:
            continue
        priced = prices.of(best.schedule, stages, best.wanted)
        if priced is not None and priced.step_s < best.step_s * (1 - GAIN):
            return priced
    return None


def changes(problem: Problem, stages: Stages) -> Iterator[Stages]:
    """Every way that is one small change away."""
    for s in range(len(stages) - 1):
        for step in (1, -1):
            here, after = stages[s], stages[s + 1]
            edge = here.last + step
            if here.first < edge < after.last:
                yield (*stages[:s], replace(here, last=edge), replace(after, first=edge), *stages[s + 2 :])
    hosts = list(dict.fromkeys(stage.host for stage in stages))
    slowest = max(stages, key=lambda one: _period(problem, one)).host
    for a, b in combinations(hosts, 2):
        if (len(hosts) <= MANY or slowest in (a, b)) and not _alike(problem, a, b):
            yield tuple(_moved(stage, {a: b, b: a}) for stage in stages)
    for new in range(len(problem.threads)):
        if new not in hosts:
            for old in hosts:
                if (len(hosts) <= MANY or old == slowest) and not _alike(problem, old, new):
                    yield tuple(_moved(stage, {old: new}) for stage in stages)


def least_seconds(problem: Problem, stages: Sequence[StageChoice]) -> float:
    """No step of these stages is shorter: each host works through all micro-batches after the first has come to it."""
    busy: dict[int, float] = {}
    for stage in stages:
        busy[stage.host] = busy.get(stage.host, 0.0) + problem.micros * _period(problem, stage)
    return max(busy.values())


def _period(problem: Problem, stage: StageChoice) -> float:
    cost = stage_cost(problem, stage)
    return (cost.forward_s + cost.input_s + cost.weight_s) / float(problem.threads[stage.host])


def _moved(stage: StageChoice, to: dict[int, int]) -> StageChoice:
    return replace(stage, host=to.get(stage.host, stage.host))


def _alike(problem: Problem, a: int, b: int) -> bool:
    tables = (problem.forward_s, problem.input_s, problem.weight_s, problem.threads, problem.room_bytes)
    return all((table[a] == table[b]).all() for table in tables)
