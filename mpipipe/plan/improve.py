"""From a good plan to a better one: small changes, each priced by simulation, while any helps.

The search finds the best plan by a closed form; what the simulation says of it differs a little. Changes are: one more
or less in flight, a layer from one stage to its neighbour, two hosts that change places, a host that moves to another
place, an unused host for a used one, one more or one less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from mpipipe.plan.limits import Limits
from mpipipe.plan.price import Candidate, Prices, stage_cost
from mpipipe.plan.problem import Problem, StageChoice, Stages

GAIN = 1e-6
"""By how much, of the step, a change must be better."""
MANY = 12
"""Stages beyond which only those places are looked at that touch the slowest stage."""


def improve(prices: Prices, start: Candidate, counts: Sequence[int], most: int, most_nodes: int) -> Candidate:
    """The best that such changes lead to, with numbers of hosts in `counts` and at most `most` in flight, simulating no
    more than `most_nodes` nodes."""
    best, end, met = start, prices.nodes + most_nodes, {(start.stages, start.wanted)}
    while True:
        better = _first_better(prices, best, counts, most, end, met)
        if better is None:
            return best
        best = better


def _first_better(
    prices: Prices, best: Candidate, counts: Sequence[int], most: int, end: int, met: set[tuple[Stages, Limits]]
) -> Candidate | None:
    changed = [(best.stages, limits) for limits in other_limits(best, most)]
    changed += [(stages, limits) for stages, limits in changes(prices.problem, best.stages, best.wanted, counts)]
    for stages, limits in changed:
        if prices.nodes >= end:
            return None
        if (stages, limits) in met or least_seconds(prices.problem, stages) >= best.step_s:
            continue
        met.add((stages, limits))
        priced = prices.of(best.schedule, stages, limits)
        if priced is not None and priced.step_s < best.step_s * (1 - GAIN):
            return priced
    return None


def other_limits(best: Candidate, most: int) -> Iterator[Limits]:
    """One more or less on a stage, and on all from there on; schedules without limits have none."""
    if best.schedule == "gpipe":
        return
    limits, count = best.wanted, len(best.wanted)
    for s in range(count):
        for step in (1, -1):
            for end in {s + 1, count}:
                other = tuple(limit + step * (s <= at < end) for at, limit in enumerate(limits))
                if min(other) >= 1 and max(other) <= most:
                    yield other


def changes(problem: Problem, stages: Stages, limits: Limits, counts: Sequence[int]) -> Iterator[tuple[Stages, Limits]]:
    """Every way that is one small change away, with its limits."""
    yield from ((other, limits) for other in _other_cuts(stages))
    yield from ((other, limits) for other in _other_hosts(problem, stages))
    if len({stage.host for stage in stages}) < len(stages):
        return
    yield from ((other, limits) for other in _other_places(stages))
    if len(stages) - 1 in counts:
        yield from _one_less(stages, limits)
    if len(stages) + 1 in counts:
        yield from _one_more(problem, stages, limits)


def _other_cuts(stages: Stages) -> Iterator[Stages]:
    for s in range(len(stages) - 1):
        for step in (1, -1, 2, -2):
            here, after = stages[s], stages[s + 1]
            edge = here.last + step
            if here.first < edge < after.last:
                yield (*stages[:s], replace(here, last=edge), replace(after, first=edge), *stages[s + 2 :])


def _other_hosts(problem: Problem, stages: Stages) -> Iterator[Stages]:
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


def _other_places(stages: Stages) -> Iterator[Stages]:
    """A host takes as many layers as it had to another place."""
    if len(stages) > MANY:
        return
    for s in range(len(stages)):
        for to in range(len(stages)):
            if abs(to - s) != 0:
                order = [*stages[:s], *stages[s + 1 :]]
                order.insert(to, stages[s])
                yield _laid_out([(one.host, one.last - one.first) for one in order])


def _one_less(stages: Stages, limits: Limits) -> Iterator[tuple[Stages, Limits]]:
    """A neighbour takes all layers of a host."""
    for s in range(len(stages)):
        for to in (s - 1, s + 1):
            if 0 <= to < len(stages):
                sizes = [(one.host, one.last - one.first) for one in stages]
                sizes[to] = (sizes[to][0], sizes[to][1] + sizes[s][1])
                yield _laid_out(sizes[:s] + sizes[s + 1 :]), limits[:s] + limits[s + 1 :]


def _one_more(problem: Problem, stages: Stages, limits: Limits) -> Iterator[tuple[Stages, Limits]]:
    """An unused host takes half of another's layers, before it or behind it."""
    used = {stage.host for stage in stages}
    for new in (host for host in range(problem.hosts) if host not in used):
        for s, one in enumerate(stages):
            size = one.last - one.first
            if size > 1 and len(stages) <= MANY:
                sizes = [(each.host, each.last - each.first) for each in stages]
                parts = [(new, size // 2), (one.host, size - size // 2)]
                for pair in (parts, parts[::-1]):
                    yield _laid_out([*sizes[:s], *pair, *sizes[s + 1 :]]), (*limits[: s + 1], *limits[s:])


def _laid_out(sizes: Sequence[tuple[int, int]]) -> Stages:
    stages, first = [], 0
    for host, size in sizes:
        stages.append(StageChoice(host, first, first + size))
        first += size
    return tuple(stages)


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
