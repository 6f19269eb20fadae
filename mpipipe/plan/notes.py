"""What a reader should know of a plan: why ranks are idle, whether fewer would be faster, what was not measured."""

from collections.abc import Iterator

import numpy as np

from mpipipe.job import Job
from mpipipe.plan.allowed import Allowed, family
from mpipipe.plan.closed import at_most
from mpipipe.plan.kinds import group_hosts
from mpipipe.plan.memory import stage_bytes
from mpipipe.plan.price import Candidate, Prices
from mpipipe.plan.priced import price_dealt, price_roomy
from mpipipe.plan.problem import StageChoice
from mpipipe.plan.search import best
from mpipipe.schedule import SCHEDULES

WORTH = 1.05
"""How much faster another choice must be to be told of."""
PLACES = 2
"""Places for an unused host, the best by the closed form, that are simulated."""


def notes_on(chosen: Candidate, prices: Prices, what: Allowed, job: Job) -> list[str]:
    """Sentences for the reader."""
    return [
        *_replaced(chosen, prices, what, job),
        *_idle(chosen, prices, what, job),
        *_fewer(chosen, prices, what, job),
        *_recomputing(chosen, prices),
        *_unmeasured(prices),
    ]


def _replaced(chosen: Candidate, prices: Prices, what: Allowed, job: Job) -> Iterator[str]:
    """Why the schedule is not the one that was asked for."""
    asked = job.plan.schedule
    if asked in ("auto", chosen.schedule):
        return
    chunks, layers = SCHEDULES[asked].chunks, len(prices.ground.names)
    ranks = min((count for count in what.counts if count > 1), default=1)
    why = "was found for these hosts' memory"
    if ranks == 1:
        why = "is for two ranks or more"
    elif ranks * chunks > layers:
        why = f"needs {chunks} layers for each of {ranks} ranks, and there are only {layers} layers"
    no = "no plan with " if why.startswith("was") else ""
    yield f"{no}plan.schedule = {asked} {why}: {chosen.schedule} is planned instead"


def _idle(chosen: Candidate, prices: Prices, what: Allowed, job: Job) -> Iterator[str]:
    """Why each unused rank is unused, ranks of one reason together."""
    used = {stage.host for stage in chosen.stages}
    hosts, layers = prices.ground.hosts, len(prices.ground.names)
    reasons: dict[str, list[int]] = {}
    kind_of = {host: kind for kind in group_hosts(prices.problem) for host in kind}
    prices_of: dict[tuple[int, ...], str] = {}
    for host in (h for h in range(len(hosts)) if h not in used):
        if job.plan.cuts:
            why = f"plan.cuts makes {len(chosen.stages)} stages"
        elif len(used) == layers:
            why = f"there are only {layers} layers, and a rank needs at least one"
        elif job.plan.ranks != "auto":
            why = "the job asks for fewer ranks"
        else:
            kind = kind_of[host]
            why = prices_of[kind] = prices_of.get(kind) or _price_of(host, chosen, prices, what)
        reasons.setdefault(why, []).append(hosts[host].rank)
    for why, ranks in reasons.items():
        yield f"idle ranks: {', '.join(map(str, sorted(ranks)))}; {why}"


def _price_of(host: int, chosen: Candidate, prices: Prices, what: Allowed) -> str:
    """What it would cost to give a host at least one layer: any one, at the place in the pipeline that suits best."""
    least = _smallest(prices, host)
    room = int(prices.problem.room_bytes[host])
    if least > room:
        return f"it has {max(0, room):,} bytes, and the smallest layer takes {least:,}"
    shared = _dealt_to(host, chosen, prices, what) if _is_chunked(chosen) else _one_more(host, chosen, prices, what)
    steps = [one.step_s for one in shared if one is not None]
    if not steps:
        return "no plan with it fits"
    slower = min(steps) / chosen.step_s - 1
    return f"a share for it would make a step {slower:.1%} longer" if slower >= 0.0005 else "it would gain nothing"


def _is_chunked(chosen: Candidate) -> bool:
    return SCHEDULES[chosen.schedule].chunks > 1


def _dealt_to(host: int, chosen: Candidate, prices: Prices, what: Allowed) -> Iterator[Candidate | None]:
    """With several stages a rank: the host at either end of the others."""
    hosts = list(dict.fromkeys(stage.host for stage in chosen.stages))
    for order in ([host, *hosts], [*hosts, host]):
        yield price_dealt(prices, chosen.schedule, order, what.most)


def _one_more(host: int, chosen: Candidate, prices: Prices, what: Allowed) -> Iterator[Candidate | None]:
    """The host with one layer at the places that the closed form likes best."""
    inserted = [stages for s in range(len(chosen.stages) + 1) for stages in _inserted(chosen, host, s)]
    closed = [(at_most(prices.problem, stages, family(what)), stages) for stages in inserted]
    ranked = sorted((form.seconds, n) for n, (form, _) in enumerate(closed) if form is not None)
    for _, n in ranked[:PLACES]:
        yield price_roomy(prices, chosen.schedule, inserted[n], what.most)


def _inserted(chosen: Candidate, host: int, s: int) -> Iterator[tuple[StageChoice, ...]]:
    """One layer of a neighbour for a host that comes before stage s."""
    stages = chosen.stages
    if s < len(stages) and stages[s].last - stages[s].first > 1:
        own = stages[s]
        new = StageChoice(host, own.first, own.first + 1, False)
        yield (*stages[:s], new, StageChoice(own.host, own.first + 1, own.last, own.recompute), *stages[s + 1 :])
    if s and stages[s - 1].last - stages[s - 1].first > 1:
        own = stages[s - 1]
        new = StageChoice(host, own.last - 1, own.last, False)
        yield (*stages[: s - 1], StageChoice(own.host, own.first, own.last - 1, own.recompute), new, *stages[s:])


def _smallest(prices: Prices, host: int) -> int:
    layers = range(len(prices.ground.names))
    return min(stage_bytes(prices.problem, StageChoice(host, i, i + 1, True), 1, 1) for i in layers)


def _fewer(chosen: Candidate, prices: Prices, what: Allowed, job: Job) -> Iterator[str]:
    """The price of giving every rank a share."""
    hosts = len(prices.ground.hosts)
    if job.plan.ranks != "all" or job.plan.cuts or max(what.counts) < 2:
        return
    other = best(prices.problem, family(what), range(1, max(what.counts)), prices.recompute, near=0.01)
    if other is None:
        return
    faster = price_roomy(prices, "1f1b" if _is_chunked(chosen) else chosen.schedule, other.stages, what.most)
    if faster is not None and faster.step_s * WORTH < chosen.step_s:
        gain, count = chosen.step_s / faster.step_s - 1, len(faster.stages)
        yield f'{count} of the {hosts} ranks would be {gain:.0%} faster by this plan\'s reckoning: ranks = "auto"'


def _recomputing(chosen: Candidate, prices: Prices) -> Iterator[str]:
    if prices.recompute == "always":
        return
    again = [str(s) for s, stage in enumerate(chosen.stages) if stage.recompute]
    if again:
        yield f"to fit its memory, stage {', '.join(again)} keeps only its input and works out the rest again"


def _unmeasured(prices: Prices) -> Iterator[str]:
    names = prices.ground.unmeasured
    if names and np.isfinite(prices.problem.forward_s).all():
        some = f"{len(names)} of {len(prices.ground.names)} layers" if len(names) > 3 else ", ".join(names)
        yield f"no measured times for {some}: reckoned from the hosts' rates, at best"
