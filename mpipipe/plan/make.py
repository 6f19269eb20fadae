"""Making the Plan: every way that the job leaves open is searched, and the best one written down."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mpipipe.errors import PlanError
from mpipipe.job import Job
from mpipipe.layers import LayerCost
from mpipipe.plan.allowed import Allowed, allowed
from mpipipe.plan.bound import fractional, lower_bound, pooled
from mpipipe.plan.choose import choose, fastest
from mpipipe.plan.explain import Alternative, alternatives
from mpipipe.plan.notes import notes_on
from mpipipe.plan.price import Candidate, Prices, placement_of
from mpipipe.plan.priced import price_all
from mpipipe.plan.problem import StageChoice, Stages
from mpipipe.plan.reckon import Ground, look_seconds, survey_ground
from mpipipe.plan.refuse import refuse
from mpipipe.plan.task_costs import boundary, weight_parts
from mpipipe.plan.types import Plan, StagePlan
from mpipipe.resources.cluster import Cluster
from mpipipe.schedule import SCHEDULES


def make_plan(
    costs: Sequence[LayerCost],
    cluster: Cluster,
    job: Job,
    reserved: Mapping[int, int] | None = None,
    load_s: float = 0.0,
) -> Plan:
    """The plan for `job` on `cluster`. `reserved` are bytes that a rank needs besides its stages; rank 0 loads the
    samples of a micro-batch in `load_s`.

    Raises PlanError where nothing fits: which host is short, by how many bytes, and what would help.
    """
    prices, what = _open(costs, cluster, job, reserved or {}, load_s)
    dealt = _deal(prices, what, job) if job.plan.cuts else {}
    chosen = _cheapest(prices, what, dealt) if dealt else choose(prices, what)
    if chosen is None:
        refuse(prices, what, next(iter(dealt.values()), None), reserved or {})
    notes = notes_on(chosen, prices, what, job)
    return _to_plan(chosen, prices.ground, job, notes, _bounds(prices, what, chosen), reserved or {})


def reprice(
    plan: Plan, costs: Sequence[LayerCost], cluster: Cluster, job: Job, reserved: Mapping[int, int] | None = None
) -> float:
    """Seconds of a step of a plan that was made before, on a cluster as it is now; infinite where it no longer fits."""
    prices, _ = _open(costs, cluster, job, reserved or {}, plan.load_s)
    stages = tuple(StageChoice(one.rank, one.first, one.last, one.recompute) for one in plan.stages)
    priced = prices.of(plan.schedule, stages, tuple(one.in_flight for one in plan.stages))
    return priced.step_s if priced else float("inf")


def compare(
    costs: Sequence[LayerCost],
    cluster: Cluster,
    job: Job,
    reserved: Mapping[int, int] | None = None,
    load_s: float = 0.0,
) -> tuple[Alternative, ...]:
    """What other rules would do on the same hosts."""
    return tuple(alternatives(*_open(costs, cluster, job, reserved or {}, load_s)))


def _open(
    costs: Sequence[LayerCost], cluster: Cluster, job: Job, reserved: Mapping[int, int], load_s: float
) -> tuple[Prices, Allowed]:
    """What everything is priced on, and what the job leaves open."""
    micros = -(-job.train.batch // job.train.micro_batch)
    ground = survey_ground(costs, cluster, micros, job.train.micro_batch, reserved, load_s)
    prices = Prices(ground, job.plan.recompute if job.train.optimizer != "none" else "never")
    return prices, allowed(job, _counts(job, ground), micros)


def _counts(job: Job, ground: Ground) -> Sequence[int]:
    """How many ranks may have a share."""
    hosts = len(ground.hosts)
    most = min(hosts, len(ground.names))
    if job.plan.ranks == "auto":
        return range(1, most + 1)
    if job.plan.ranks == "all":
        return [most]
    if int(job.plan.ranks) > hosts:
        raise PlanError("plan.ranks", f"{job.plan.ranks}", f"at most the {hosts} ranks that were started")
    return [min(int(job.plan.ranks), most)]


def _deal(prices: Prices, what: Allowed, job: Job) -> dict[str, Stages]:
    """By schedule: the job's cuts, dealt to the ranks in their order as the schedule places stages."""
    layers, hosts = len(prices.ground.names), len(prices.ground.hosts)
    edges = [0, *job.plan.cuts, layers]
    if job.plan.cuts[-1] >= layers:
        raise PlanError("plan.cuts", f"{job.plan.cuts[-1]}", f"cuts below the number of layers, {layers}")
    count, dealt = len(edges) - 1, {}
    for name in what.schedules:
        recipe = SCHEDULES[name]
        lanes = count // recipe.chunks
        if lanes * recipe.chunks != count or lanes > hosts or (job.plan.schedule == "auto" and recipe.chunks > 1):
            continue
        owner = {stage: lane for lane, held in enumerate(recipe.place(lanes, count)) for stage in held}
        dealt[name] = tuple(StageChoice(owner[s], edges[s], edges[s + 1], False) for s in range(count))
    if not dealt:
        chunks = SCHEDULES[what.schedules[0]].chunks
        found = f"{hosts} ranks were started"
        raise PlanError("plan.cuts", found, f"{-(-count // chunks)} ranks", "start more or cut less")
    return dealt


def _cheapest(prices: Prices, what: Allowed, dealt: Mapping[str, Stages]) -> Candidate | None:
    found = [one for name, stages in dealt.items() for one in price_all(prices, stages, [name], what.most)]
    return fastest(found, what) if found else None


def _bounds(prices: Prices, what: Allowed, chosen: Candidate) -> tuple[float, float]:
    """Seconds that no plan of the allowed kinds can go below, and that none with one stage a rank can."""
    problem = prices.ground.problem
    update_s = fractional(pooled(problem, prices.ground.update_s))
    straight = lower_bound(problem, False, what.counts) + update_s
    chunked = any(SCHEDULES[name].chunks > 1 for name in what.schedules)
    least = lower_bound(problem, True, what.counts) + update_s if chunked else straight
    return min(chosen.step_s, least), straight


def _to_plan(
    chosen: Candidate,
    ground: Ground,
    job: Job,
    notes: Sequence[str],
    bounds_s: tuple[float, float],
    reserved: Mapping[int, int],
) -> Plan:
    hosts = ground.hosts
    stages = tuple(_stage_plan(chosen, index, ground) for index in range(len(chosen.stages)))
    used = {stage.rank for stage in stages}
    first = {hosts[stages[held[0]].rank].rank: held[0] for held in placement_of(chosen.stages)}
    stages = tuple(
        replace(stage, bytes=stage.bytes + (reserved.get(stage.rank, 0) if first[stage.rank] == index else 0))
        for index, stage in enumerate(stages)
    )
    return Plan(
        layers=ground.names,
        ranks=len(hosts),
        batch=job.train.batch,
        micro_batch=job.train.micro_batch,
        schedule=chosen.schedule,
        stages=stages,
        idle=tuple(sorted({host.rank for host in hosts} - used)),
        step_s=chosen.step_s,
        bubble=chosen.bubble,
        notes=tuple(notes),
        bound_s=bounds_s[0],
        straight_bound_s=bounds_s[1],
        load_s=ground.problem.load_s,
    )


def _stage_plan(chosen: Candidate, index: int, ground: Ground) -> StagePlan:
    stage, problem = chosen.stages[index], ground.problem
    host = ground.hosts[stage.host]
    forward_s, input_s, weight_s = problem.seconds(stage)
    send = boundary(problem, chosen.stages, index)
    return StagePlan(
        rank=host.rank,
        host=host.name,
        first=stage.first,
        last=stage.last,
        threads=host.threads,
        in_flight=chosen.in_flight[index],
        gradients_in_flight=chosen.gradients[index],
        forward_s=forward_s,
        input_s=input_s,
        weight_s=weight_s,
        bytes=chosen.bytes[index],
        available_bytes=host.available_bytes,
        recompute=stage.recompute,
        latency_s=send.latency_s,
        wire_s=send.wire_s,
        weight_parts=weight_parts(problem, stage),
        pool=host.core_pool,
        cores=host.cores_left,
        period_s=host.period_s,
        sleeping=problem.sleeping(stage),
        look_s=look_seconds(Cluster(ground.hosts), host),
    )
