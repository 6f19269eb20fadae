"""Choosing: the exact search proposes, the simulation prices, small changes improve, the fastest is taken.

Proposals are the best plans by the closed form, and some near them, for any allowed number of ranks. Each is priced
with every schedule and several limits, and the best few are improved. A schedule with more than one stage a rank starts
from the hosts and shares of the best plan with one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mpipipe.job import Job
from mpipipe.plan.closed import ALL, LIMITED
from mpipipe.plan.improve import improve, improve_limits
from mpipipe.plan.least import FEW_WAYS, by_promise, count_ways
from mpipipe.plan.limits import Limits, most_that_fit, wanted_limits
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.problem import Choice, Stages
from mpipipe.plan.search import front
from mpipipe.plan.spread import spread
from mpipipe.schedule import SCHEDULES

CLOSE = 1.002
"""A candidate must be this much faster to win over one whose schedule stands before its own."""
IMPROVING_NODES = 450_000
"""Nodes to simulate at the most when improving."""
RANKING_NODES = 800_000
"""Nodes to simulate at the most to find which proposals are the best."""
PRICING_NODES = 2_000_000
"""Nodes to simulate at the most before another proposal is priced with every schedule."""
SWEEPING_NODES = 300_000
"""Nodes to simulate at the most when all orders and cuts are looked at."""
WORTH = 0.005
"""By how much a way must promise to be faster to be looked at."""
NEARLY = 1.05
"""Up to how much slower than the best a way is tried with other limits."""
NEAR = 1e-3
"""How near to the best of the closed form proposals need come: what follows differs by more."""
KEPT = 2
"""Proposals that are priced with every schedule, and candidates that are improved."""
QUICK = ("zb-h1", "1f1b", "gpipe")
"""Schedules that tell quickly how good stages are."""


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
    proposals = front(prices.problem, family(what), what.counts, prices.recompute, near=NEAR)
    priced: list[Candidate] = []
    few, end = _best_few(prices, what, proposals), prices.nodes + PRICING_NODES
    for stages in few:
        if not priced or prices.nodes < end:
            priced += _price_singles(prices, what, stages)
    if not priced:
        return None
    by_count = {len(one.stages): one for one in sorted(priced, key=lambda one: -one.step_s)}
    for start in sorted(by_count.values(), key=lambda one: one.step_s)[: KEPT + 1]:
        priced += _price_chunked(prices, what, start)
    wanted = [one for one in priced if one.schedule in what.schedules] or priced
    tops: dict[object, Candidate] = {}
    for one in sorted(wanted, key=lambda one: one.step_s):
        tops.setdefault((one.schedule, one.stages), one)
    kept = list(tops.values())[:KEPT]
    kept += [one for one in tops.values() if SCHEDULES[one.schedule].chunks > 1 and one not in kept][:1]
    share = IMPROVING_NODES // len(kept)
    improved = [improve(prices, one, what.counts, what.most, prices.nodes + share) for one in kept]
    swept = _sweep(prices, what, [*improved, *wanted])
    return fastest([*swept, *improved, *wanted], what)


def _best_few(prices: Prices, what: Allowed, proposals: Sequence[Choice]) -> list[Stages]:
    """The proposals that are fastest with one schedule and limits that do not hold them up; the first among them."""
    name = next((name for name in QUICK if name in what.schedules), "1f1b")
    ranked, end = [], prices.nodes + RANKING_NODES
    for n, one in enumerate(proposals):
        priced = price_roomy(prices, name, one.stages, what.most) if prices.nodes < end else None
        ranked += [(priced.step_s, n)] if priced is not None else []
    best = [n for _, n in sorted(ranked)[:KEPT]]
    return [proposals[n].stages for n in dict.fromkeys([*best, 0])] if proposals else []


def _sweep(prices: Prices, what: Allowed, found: Sequence[Candidate]) -> Iterator[Candidate]:
    """All orders and cuts that may be faster than what was found, where there are few: the most promising first, with
    the fastest schedule of one stage a rank."""
    single = [one for one in found if SCHEDULES[one.schedule].chunks == 1]
    if not single or count_ways(prices.problem, what.counts) > FEW_WAYS:
        return
    best = min(single, key=lambda one: one.step_s)
    first, end = best.step_s, prices.nodes + SWEEPING_NODES
    for least_s, stages in by_promise(prices.problem, what.counts, best.step_s * (1 - WORTH)):
        if least_s >= best.step_s * (1 - WORTH) or prices.nodes >= end:
            break
        priced = min(price_all(prices, stages, [best.schedule], what.most), key=lambda one: one.step_s, default=None)
        if priced is not None and priced.step_s < best.step_s * NEARLY:
            best = min(best, improve_limits(prices, priced, what.most, end), key=lambda one: one.step_s)
    if best.step_s < first:
        yield improve(prices, best, what.counts, what.most, end + SWEEPING_NODES)


def fastest(candidates: Sequence[Candidate], what: Allowed) -> Candidate:
    """The fastest; of those as good as that, the one whose schedule stands first, then with the fewest in flight."""
    least = min(one.step_s for one in candidates)
    good = [one for one in candidates if one.step_s <= least * CLOSE]
    return min(good, key=lambda one: (_place(one, what), one.step_s > least * 1.0005, sum(one.bytes)))


def _place(candidate: Candidate, what: Allowed) -> int:
    return what.schedules.index(candidate.schedule) if candidate.schedule in what.schedules else len(what.schedules)


def _price_singles(prices: Prices, what: Allowed, stages: Stages) -> Iterator[Candidate]:
    """The stages with every schedule of one stage a rank; with 1F1B, to start from, where none is allowed."""
    names = tuple(name for name in what.schedules if SCHEDULES[name].chunks == 1)
    return price_all(prices, stages, names or ("1f1b",), what.most)


def family(what: Allowed) -> str:
    """The search's family: with all in flight only where nothing else is allowed."""
    return ALL if what.schedules == ("gpipe",) else LIMITED


def price_all(prices: Prices, stages: Stages, names: Sequence[str], most: int) -> Iterator[Candidate]:
    """The stages with every schedule named and all limits that fit."""
    for name in names:
        limits: list[Limits] = list(wanted_limits(prices.problem, stages, most, prices.recompute))
        if name == "gpipe":
            limits = [(prices.problem.micros,) * len(stages)]
        for wanted in limits:
            priced = prices.of(name, stages, wanted)
            if priced is not None:
                yield priced


def price_roomy(prices: Prices, name: str, stages: Stages, most: int) -> Candidate | None:
    """With as many in flight as fit, which hold nothing up."""
    return prices.of(name, stages, most_that_fit(prices.problem, stages, most, prices.recompute))


def _price_chunked(prices: Prices, what: Allowed, start: Candidate) -> Iterator[Candidate]:
    hosts = list(dict.fromkeys(stage.host for stage in start.stages))
    for name in what.schedules:
        if SCHEDULES[name].chunks > 1:
            priced = price_dealt(prices, name, hosts, what.most)
            if priced is not None:
                yield priced


def price_dealt(prices: Prices, name: str, hosts: Sequence[int], most: int) -> Candidate | None:
    """A schedule with several stages a rank on these hosts, in this order."""
    recipe = SCHEDULES[name]
    count = len(hosts) * recipe.chunks
    if count > len(prices.ground.names) or len(hosts) == 1:
        return None
    stages = spread(prices.problem, hosts, recipe.place(len(hosts), count))
    return prices.of(name, stages, (most,) * count)
