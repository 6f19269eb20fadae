"""Choosing: the exact search proposes, the simulation prices, small changes improve, the fastest is taken.

Proposals are the best plans by the closed form, and some near them, for any allowed number of ranks. Each is priced
with every schedule and several limits, and the best few are improved. A schedule with more than one stage a rank starts
from the hosts and shares of the best plan with one. Where there are few ways in all, those that may be faster are
priced, too.
"""

from collections.abc import Iterator, Sequence

from mpipipe.plan.allowed import Allowed, family
from mpipipe.plan.improve import improve
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.priced import price_all, price_ample, price_dealt
from mpipipe.plan.problem import Choice, Stages
from mpipipe.plan.search import front, place_among_its_like
from mpipipe.plan.sweep import sweep

CLOSE = 1.002
"""A candidate must be this much faster to win over one whose schedule stands before its own."""
IMPROVING_NODES = 500_000
"""Nodes to simulate at the most when improving."""
RANKING_NODES = 500_000
"""Nodes to simulate at the most to find which proposals are the best."""
PRICING_NODES = 1_200_000
"""Nodes to simulate at the most before another proposal is priced with every schedule."""
NEAR = 1e-3
"""How near to the best of the closed form proposals need come: what follows differs by more."""
KEPT = 3
"""Proposals that are priced with every schedule, and candidates that are improved."""
QUICK = ("zb-h1", "1f1b", "gpipe")
"""Schedules that tell quickly how good stages are."""


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
    starts = [one.stages for one in sorted(by_count.values(), key=lambda one: one.step_s)[: KEPT + 1]]
    for stages in starts if what.single else (one.stages for one in proposals):
        priced += _price_chunked(prices, what, stages)
    wanted = [one for one in priced if one.schedule in what.schedules]
    tops: dict[object, Candidate] = {}
    for one in sorted(wanted, key=lambda one: one.step_s):
        tops.setdefault((one.schedule, one.stages), one)
    kept = list(tops.values())[:KEPT]
    kept += [one for one in tops.values() if one.schedule in what.chunked and one not in kept][:1]
    improved = [improve(prices, one, what, prices.nodes + IMPROVING_NODES // len(kept)) for one in kept]
    # What a way promises is no bound where ranks share cores: all ways are about as fast there, and none is swept.
    swept = sweep(prices, what, [*improved, *wanted]) if prices.problem is prices.ground.problem else ()
    return fastest([*swept, *improved, *wanted] or priced, what)


def _best_few(prices: Prices, what: Allowed, proposals: Sequence[Choice]) -> list[Stages]:
    """The proposals that are fastest with one schedule and ample limits; the first among them. Looked at first are the
    best of each number of hosts."""
    name = next((name for name in QUICK if name in what.schedules), "1f1b")
    ranked, end = [], prices.nodes + RANKING_NODES
    for n in sorted(range(len(proposals)), key=lambda n: (place_among_its_like(proposals, n), n)):
        if prices.nodes < end:
            steps = [one.step_s for one in price_ample(prices, name, proposals[n].stages, what.most)]
            ranked += [(min(steps), n)] if steps else []
    best = [n for _, n in sorted(ranked)[:KEPT]]
    return [proposals[n].stages for n in dict.fromkeys([*best, 0])] if proposals else []


def fastest(candidates: Sequence[Candidate], what: Allowed) -> Candidate:
    """The fastest; of those as good as that, the one whose schedule stands first, then with the fewest in flight."""
    least = min(one.step_s for one in candidates)
    good = [one for one in candidates if one.step_s <= least * CLOSE]
    return min(good, key=lambda one: (_place(one, what), one.step_s > least * 1.0005, sum(one.bytes)))


def _place(candidate: Candidate, what: Allowed) -> int:
    return what.schedules.index(candidate.schedule) if candidate.schedule in what.schedules else len(what.schedules)


def _price_singles(prices: Prices, what: Allowed, stages: Stages) -> Iterator[Candidate]:
    """The stages with every schedule of one stage a rank; with 1F1B, to start from, where none is allowed."""
    return price_all(prices, stages, what.single or ("1f1b",), what.most)


def _price_chunked(prices: Prices, what: Allowed, stages: Stages) -> Iterator[Candidate]:
    hosts = list(dict.fromkeys(stage.host for stage in stages))
    for name in what.chunked:
        priced = price_dealt(prices, name, hosts, what.most)
        if priced is not None:
            yield priced
