"""From a good plan to a better one: small changes, each priced by simulation, while any helps.

The search finds the best plan by a closed form; what the simulation says of it differs a little. Changes are: one more
or less in flight, a layer from one stage to its neighbour, two hosts that change places, a host that moves to another
place, an unused host for a used one, one more or one less.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.kinds import alike
from mpipipe.plan.limits import Limits
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.problem import Problem, StageChoice, Stages
from mpipipe.plan.task_costs import stage_cost

Change = tuple[Stages, Limits]

GAIN = 1e-6
"""By how much, of the step, a change must be better."""
FEW_LIMITS = 64
"""Up to so many are all tried."""
MANY = 12
"""Stages beyond which only those places are looked at that touch the slowest stage."""


def improve(prices: Prices, start: Candidate, what: Allowed, end: int) -> Candidate:
    """The best that such changes lead to, simulating until `prices` has seen `end` nodes."""

    def changed(best: Candidate) -> Iterator[Change]:
        yield from ((other, best.wanted) for other in _other_cuts(best.stages))
        yield from other_limits(best, what.most)
        yield from changes(prices.problem, best.stages, best.wanted, what.counts)

    return _climb(prices, start, changed, end)


def improve_limits(prices: Prices, start: Candidate, most: int, end: int) -> Candidate:
    """The best that other limits lead to."""
    return _climb(prices, start, lambda best: other_limits(best, most), end)


def _climb(prices: Prices, start: Candidate, changed: Callable[[Candidate], Iterator[Change]], end: int) -> Candidate:
    best, better = start, True
    while better:
        better = False
        for change in changed(best):
            if prices.nodes >= end:
                return best
            if least_seconds(prices.problem, change[0]) >= best.step_s:
                continue
            priced = prices.of(best.schedule, *change)
            if priced is not None and priced.step_s < best.step_s * (1 - GAIN):
                best, better = priced, True
                break
    return best


def other_limits(best: Candidate, most: int) -> Iterator[Change]:
    """Other numbers on one stage, or on all from there on: one more or less, twice or half, the most, or one. Where all
    limits are few, these too."""
    if best.schedule == "gpipe":
        return
    limits, count = best.wanted, len(best.wanted)
    for s, now in enumerate(limits):
        others = dict.fromkeys((now + 1, now - 1, 2 * now, now // 2, 1, most))
        for other in (limit for limit in others if 1 <= limit <= most and limit != now):
            yield best.stages, (*limits[:s], other, *limits[s + 1 :])
            if s + 1 < count:
                yield best.stages, (*limits[:s], *(max(1, min(most, limit + other - now)) for limit in limits[s:]))
    if most**count <= FEW_LIMITS:
        yield from ((best.stages, each) for each in product(range(1, most + 1), repeat=count))


def changes(problem: Problem, stages: Stages, limits: Limits, counts: Sequence[int]) -> Iterator[Change]:
    """Every way that is one small change away, with its limits."""
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
        if (len(hosts) <= MANY or slowest in (a, b)) and not alike(problem, a, b):
            yield tuple(_moved(stage, {a: b, b: a}) for stage in stages)
    for new in range(len(problem.threads)):
        if new not in hosts:
            for old in hosts:
                if (len(hosts) <= MANY or old == slowest) and not alike(problem, old, new):
                    yield tuple(_moved(stage, {old: new}) for stage in stages)


def _other_places(stages: Stages) -> Iterator[Stages]:
    """A host takes as many layers as it had to another place."""
    if len(stages) > MANY:
        return
    for s in range(len(stages)):
        for to in range(len(stages)):
            if to != s:
                order = [*stages[:s], *stages[s + 1 :]]
                order.insert(to, stages[s])
                yield _laid_out([(one.host, one.last - one.first) for one in order])


def _one_less(stages: Stages, limits: Limits) -> Iterator[Change]:
    """A neighbour takes all layers of a host."""
    for s in range(len(stages)):
        for to in (s - 1, s + 1):
            if 0 <= to < len(stages):
                sizes = [(one.host, one.last - one.first) for one in stages]
                sizes[to] = (sizes[to][0], sizes[to][1] + sizes[s][1])
                yield _laid_out(sizes[:s] + sizes[s + 1 :]), limits[:s] + limits[s + 1 :]


def _one_more(problem: Problem, stages: Stages, limits: Limits) -> Iterator[Change]:
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
