"""Making the Plan: every way that the job leaves open is searched, its step simulated, the best one kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from mpipipe.errors import PlanError
from mpipipe.job import Job
from mpipipe.layers import LayerCost
from mpipipe.plan.candidate import MEMORY, Candidate, raise_short, shortages
from mpipipe.plan.partition import Kinds, LimitRule, Search, assign_ranks, group_hosts, partition
from mpipipe.plan.predict import (
    Limits,
    Totals,
    seconds,
    simulate_step,
    stage_bytes,
    total_up,
    update_seconds,
)
from mpipipe.plan.types import Plan, StagePlan
from mpipipe.resources.cluster import Cluster, Host
from mpipipe.schedule import SCHEDULES, straight, unit_pipeline

Stages = Sequence[tuple[int, int, int]]
"""(rank, first layer, last layer + 1), in pipeline order."""
CLOSE = 1.005
"""A candidate must be this much faster to win over one that stands before it."""


def make_plan(
    costs: Sequence[LayerCost], cluster: Cluster, job: Job, reserved: Mapping[int, int] | None = None
) -> Plan:
    """The plan for `job` on `cluster`. `reserved` are bytes that a rank needs besides its stage.

    Raises PlanError where nothing fits: which host is short, by how many bytes, and what would help.
    """
    totals = total_up(costs)
    hosts = [
        replace(host, available_bytes=host.available_bytes - (reserved or {}).get(host.rank, 0))
        for host in cluster.hosts
    ]
    try:
        chosen, notes = _choose(totals, hosts, job)
    except PlanError as error:
        if error.where != MEMORY:
            raise
        aside = [f"rank {rank} sets aside {size:,} bytes for other things" for rank, size in (reserved or {}).items()]
        raise PlanError(error.where, "; ".join([error.found, *aside]), error.needed, error.remedy) from error
    return _with_reserved(_to_plan(chosen, totals, hosts, job, notes), reserved or {})


def _with_reserved(plan: Plan, reserved: Mapping[int, int]) -> Plan:
    """The plan with what is reserved as part of what each rank takes of what it has."""
    stages = (
        replace(stage, bytes=stage.bytes + more, available_bytes=stage.available_bytes + more)
        for stage, more in ((stage, reserved.get(stage.rank, 0)) for stage in plan.stages)
    )
    return replace(plan, stages=tuple(stages))


def _choose(totals: Totals, hosts: Sequence[Host], job: Job) -> tuple[Candidate, list[str]]:
    if job.plan.cuts:
        return _best(_by_hand(totals, hosts, job)), []
    kinds, most = group_hosts(hosts), min(len(hosts), totals.layers)
    wanted = _wanted_stages(job, len(hosts), most)
    searches = [(schedule, Search(totals, kinds, rule)) for schedule, rule in _rules(job)]

    def found(counts: Sequence[int]) -> list[Candidate]:
        cuts = [(schedule, search.rule, search.best(stages)) for stages in counts for schedule, search in searches]
        return [
            _candidate(totals, hosts, assign_ranks(best, kinds), schedule, rule, job)
            for schedule, rule, best in cuts
            if best is not None
        ]

    fits = found(wanted)
    if not fits:
        others = found(range(1, most + 1))
        _refuse(totals, hosts, kinds, job, max(wanted), len(_best(others).stages) if others else 0)
    chosen = _best(fits)
    fewer = found(range(1, most)) if job.plan.ranks == "all" else []
    return chosen, _grouping_note(kinds) + _fewer_note(fewer, len(hosts), chosen)


def _wanted_stages(job: Job, hosts: int, most: int) -> list[int]:
    if job.plan.ranks == "auto":
        return list(range(1, most + 1))
    if job.plan.ranks == "all":
        return [most]
    if int(job.plan.ranks) > hosts:
        raise PlanError("plan.ranks", f"{job.plan.ranks}", f"at most the {hosts} ranks that were started")
    return [min(int(job.plan.ranks), most)]


def _by_hand(totals: Totals, hosts: Sequence[Host], job: Job) -> list[Candidate]:
    edges = [0, *job.plan.cuts, totals.layers]
    if job.plan.cuts[-1] >= totals.layers:
        raise PlanError("plan.cuts", f"{job.plan.cuts[-1]}", f"cuts below the number of layers, {totals.layers}")
    if len(edges) - 1 > len(hosts):
        needed = f"{len(edges) - 1} ranks"
        raise PlanError("plan.cuts", f"{len(hosts)} ranks were started", needed, "start more or cut less")
    stages = [(rank, edges[rank], edges[rank + 1]) for rank in range(len(edges) - 1)]
    made = [_candidate(totals, hosts, stages, schedule, rule, job) for schedule, rule in _rules(job)]
    fits = [candidate for candidate in made if not shortages(totals, candidate)]
    if not fits:
        raise_short(totals, made)
    return fits


def _rules(job: Job) -> Iterator[tuple[str, LimitRule]]:
    """Schedules to try, each with its rule for limits: roomy ones first, then the least that keep 1F1B going.

    Roomy is a micro-batch for every thread and one on its way in, on this stage and on each one after it.
    """
    micros = -(-job.train.batch // job.train.micro_batch)
    most = min(micros, job.plan.in_flight or micros)
    again = job.plan.recompute == "always" and job.train.optimizer != "none"

    def limits(in_flight: int, host: Host) -> Limits:
        bounded = max(1, min(most, in_flight))
        return Limits(bounded, min(bounded, host.threads + 1), again)

    if job.plan.schedule in ("auto", "1f1b"):
        yield "1f1b", lambda after, host: limits((1 + after) * (host.threads + 1), host)
        yield "1f1b", lambda after, host: limits(1 + after, host)
    if job.plan.schedule == "gpipe" or (job.plan.schedule == "auto" and most == micros):
        yield "gpipe", lambda after, host: Limits(micros, min(micros, host.threads + 1), again)


def _candidate(
    totals: Totals, hosts: Sequence[Host], ranked: Stages, schedule: str, rule: LimitRule, job: Job
) -> Candidate:
    stages = tuple((hosts[rank], first, last) for rank, first, last in ranked)
    wanted = [rule(len(stages) - 1 - s, host) for s, (host, _, _) in enumerate(stages)]
    micros = -(-job.train.batch // job.train.micro_batch)
    pipeline = unit_pipeline(straight(len(stages)), micros, [limit.in_flight for limit in wanted])
    made = SCHEDULES[schedule].make(pipeline)
    limits = tuple(
        replace(limit, in_flight=k, gradients=min(k, limit.gradients))
        for k, limit in zip(made.in_flight, wanted, strict=True)
    )
    result = simulate_step(totals, stages, limits, made)
    worker_s = sum(host.threads for host, _, _ in stages) * result.end_s
    bubble = max(0.0, 1 - sum(result.busy_s) / worker_s) if worker_s else 0.0
    return Candidate(schedule, stages, limits, result.end_s + update_seconds(totals, stages), bubble)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    best = candidates[0]
    for candidate in candidates[1:]:
        if candidate.step_s * CLOSE < best.step_s:
            best = candidate
    return best


def _to_plan(chosen: Candidate, totals: Totals, hosts: Sequence[Host], job: Job, notes: list[str]) -> Plan:
    stages = []
    for (host, first, last), limits in zip(chosen.stages, chosen.limits, strict=True):
        costs = totals.costs[first:last]
        stages.append(
            StagePlan(
                rank=host.rank,
                host=host.name,
                first=first,
                last=last,
                threads=host.threads,
                in_flight=limits.in_flight,
                gradients_in_flight=limits.gradients,
                forward_s=sum(seconds(cost.forward, host) for cost in costs),
                input_s=sum(seconds(cost.grad_input, host) for cost in costs),
                weight_s=sum(seconds(cost.grad_weight, host) for cost in costs),
                bytes=int(stage_bytes(totals, first, last, limits, host.threads)),
                available_bytes=host.available_bytes,
                recompute=limits.recompute,
            )
        )
    idle = tuple(sorted({host.rank for host in hosts} - {stage.rank for stage in stages}))
    names = tuple(cost.name for cost in totals.costs)
    return Plan(
        layers=names,
        ranks=len(hosts),
        batch=job.train.batch,
        micro_batch=job.train.micro_batch,
        schedule=chosen.schedule,
        stages=tuple(stages),
        idle=idle,
        step_s=chosen.step_s,
        bubble=chosen.bubble,
        notes=(*notes, *_idle_note(idle, len(stages), len(names), job)),
    )


def _grouping_note(kinds: Kinds) -> list[str]:
    if not kinds.spread:
        return []
    return [f"to keep the search short, hosts that differ by up to {kinds.spread:.0%} were planned as alike"]


def _idle_note(idle: Sequence[int], stages: int, layers: int, job: Job) -> list[str]:
    if not idle:
        return []
    if job.plan.cuts:
        why = f"plan.cuts makes {stages} stages"
    elif stages == layers:
        why = f"there are only {layers} layers, and a rank needs at least one"
    elif job.plan.ranks == "auto":
        why = "fewer ranks are faster"
    else:
        why = "the job asks for fewer ranks"
    return [f"idle ranks: {', '.join(map(str, idle))}; {why}"]


def _fewer_note(fewer: Sequence[Candidate], hosts: int, chosen: Candidate) -> list[str]:
    best = _best(fewer) if fewer else chosen
    if best.step_s * 1.05 >= chosen.step_s:
        return []
    gain = chosen.step_s / best.step_s - 1
    count = len(best.stages)
    return [f'{count} of the {hosts} ranks would be {gain:.0%} faster by this plan\'s reckoning: ranks = "auto"']


def _refuse(totals: Totals, hosts: Sequence[Host], kinds: Kinds, job: Job, stages: int, fits: int) -> NoReturn:
    """Plan as if memory were free, and say where it is not, and that `fits` stages (if any) would do."""
    boundless = replace(kinds, hosts=tuple(replace(host, available_bytes=1 << 62) for host in kinds.hosts))
    made = []
    for schedule, rule in _rules(job):
        cuts = partition(totals, boundless, stages, rule)
        assert cuts is not None
        made.append(_candidate(totals, hosts, assign_ranks(cuts, kinds), schedule, rule, job))
    raise_short(totals, made, fits)
