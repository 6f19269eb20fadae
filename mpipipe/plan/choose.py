"""Choosing: the exact search proposes, the simulation prices, small changes improve, the fastest is taken.

Proposals are the best plans by the closed form, and some near them, for any allowed number of ranks. Each is priced
with every schedule and several limits, and the best few are improved. A schedule with more than one stage a rank starts
from the hosts and shares of the best plan with one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.job import Job
from mpipipe.plan.closed import ALL, LIMITED
from mpipipe.plan.improve import improve
from mpipipe.plan.limits import Limits, wanted_limits
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.problem import Problem, StageChoice, Stages
from mpipipe.plan.search import front
from mpipipe.schedule import SCHEDULES

CLOSE = 1.002
"""A candidate must be this much faster to win over one whose schedule stands before its own."""
PRICING_NODES, IMPROVING_NODES = 1_500_000, 1_500_000
"""Nodes to simulate at the most, at about a microsecond each: when pricing proposals, when improving."""
KEPT = 3
"""Candidates that are improved."""


@dataclass(frozen=True)
class Allowed:
    """What the job leaves open: numbers of ranks, schedules by name, the most in flight."""

    counts: tuple[int, ...]
    schedules: tuple[str, ...]
    most: int


def allowed(job: Job, counts: Sequence[int], micros: int) -> Allowed:
    """Of a job with so many micro-batches. gpipe keeps them all in flight, whatever plan.in_flight says."""
    most = min(micros, job.plan.in_flight or micros)
    names = tuple(SCHEDULES) if job.plan.schedule == "auto" else (job.plan.schedule,)
    if job.plan.schedule == "auto" and most < micros:
        names = tuple(name for name in names if name != "gpipe")
    return Allowed(tuple(counts), names, most)


def choose(prices: Prices, what: Allowed) -> Candidate | None:
    """The fastest candidate found, None where nothing fits."""
    priced = list(_priced(prices, what))
    if not priced:
        return None
    priced += _chunked(prices, what, fastest(priced, what))
    kept = sorted(priced, key=lambda one: one.step_s)
    tops: dict[object, Candidate] = {}
    for one in kept:
        tops.setdefault((one.schedule, one.stages), one)
    share = IMPROVING_NODES // KEPT
    improved = [improve(prices, one, share, what.most) for one in list(tops.values())[:KEPT]]
    return fastest([one for one in (*improved, *kept) if one.schedule in what.schedules] or kept, what)


def fastest(candidates: Sequence[Candidate], what: Allowed) -> Candidate:
    """The fastest; of those as good as that, the one whose schedule stands first, then with the fewest in flight."""
    least = min(one.step_s for one in candidates)
    good = [one for one in candidates if one.step_s <= least * CLOSE]
    return min(good, key=lambda one: (_place(one, what), one.step_s > least * 1.0005, sum(one.bytes)))


def _place(candidate: Candidate, what: Allowed) -> int:
    return what.schedules.index(candidate.schedule) if candidate.schedule in what.schedules else len(what.schedules)


def _priced(prices: Prices, what: Allowed) -> Iterator[Candidate]:
    """Every proposal with every schedule of one stage a rank, as long as there are nodes left to spend.

    Where no such schedule is allowed, 1F1B is what to start from.
    """
    end = prices.nodes + PRICING_NODES
    names = tuple(name for name in what.schedules if SCHEDULES[name].chunks == 1)
    for number, proposal in enumerate(front(prices.problem, family(what), what.counts, prices.recompute)):
        if number and prices.nodes > end:
            break
        yield from price_all(prices, proposal.stages, names or ("1f1b",), what.most)


def family(what: Allowed) -> str:
    """The search's family: with all in flight only where nothing else is allowed."""
    return ALL if what.schedules == ("gpipe",) else LIMITED


def price_all(prices: Prices, stages: Stages, names: Sequence[str], most: int) -> Iterator[Candidate]:
    """The stages with every schedule named and all limits that fit."""
    for name in names:
        limits: list[Limits] = list(wanted_limits(prices.problem, stages, most))
        if name == "gpipe":
            limits = [(prices.problem.micros,) * len(stages)]
        for wanted in limits:
            priced = prices.of(name, stages, wanted)
            if priced is not None:
                yield priced


def _chunked(prices: Prices, what: Allowed, start: Candidate) -> Iterator[Candidate]:
    for name in what.schedules:
        recipe = SCHEDULES[name]
        if recipe.chunks == 1:
            continue
        hosts = list(dict.fromkeys(stage.host for stage in start.stages))
        count = len(hosts) * recipe.chunks
        if count > len(prices.ground.names) or len(hosts) == 1:
            continue
        placement = recipe.place(len(hosts), count)
        stages = spread(prices.problem, hosts, placement)
        limits = (what.most,) * count
        priced = prices.of(name, stages, limits)
        if priced is not None:
            yield priced


def spread(problem: Problem, hosts: Sequence[int], placement: Sequence[Sequence[int]]) -> Stages:
    """Layers dealt to the stages of a placement in proportion to the speed of their hosts, each at least one."""
    total = (problem.forward_s + problem.input_s + problem.weight_s) / problem.threads[:, None]
    owner = {stage: host for host, held in zip(hosts, placement, strict=True) for stage in held}
    speed = {
        host: 1 / max(float(total[host].sum()), 1e-12) / len(held) for host, held in zip(hosts, placement, strict=True)
    }
    work = np.cumsum(total[list(hosts)].mean(axis=0))
    shares = np.cumsum([speed[owner[stage]] for stage in range(len(owner))])
    edges, layers = [0], len(work)
    for s in range(len(owner) - 1):
        wanted = int(np.searchsorted(work, work[-1] * shares[s] / shares[-1])) + 1
        edges.append(min(max(wanted, edges[-1] + 1), layers - (len(owner) - 1 - s)))
    edges.append(layers)
    return tuple(StageChoice(owner[s], edges[s], edges[s + 1], False) for s in range(len(owner)))
