"""Everyone knows: rank 0 tells job, shapes and plan; every rank makes its stage and says that it is ready."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mpipipe.errors import PlanError
from mpipipe.job import Job
from mpipipe.layers import build_model
from mpipipe.plan import Plan
from mpipipe.records import from_plain, to_plain
from mpipipe.report import human_bytes
from mpipipe.resources import Pretence, memory, start_peak
from mpipipe.runtime.crew import CONDUCTOR, Crew, gradient_port, ports_of, share_of
from mpipipe.runtime.member import Member
from mpipipe.runtime.slow_links import over_links
from mpipipe.runtime.source import SLOTS, Source
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.workqueue import WorkQueue
from mpipipe.runtime.world import World


@dataclass(frozen=True)
class Brief:
    """What rank 0 tells every rank."""

    job: Job
    input_shape: tuple[int, ...]
    plan: Plan


def enlist(world: World, brief: Brief, pretence: Pretence | None = None) -> Member:
    """Make this rank's stage, agree with all others, and be ready. Raises PlanError where a host lacks the memory."""
    model = build_model(brief.job.model, brief.input_shape)
    crew = Crew(world.rank, brief.plan, model, brief.job)
    start_bytes = start_peak()
    stage, verdict = _make_stage(crew, world.host)
    verdicts = world.gather(verdict)
    world.share(lambda: _check_ready(verdicts or [], brief.plan))
    threads = crew.stage_plan.threads if crew.stage_plan else 1
    source = _make_source(crew) if world.rank == CONDUCTOR else None
    transport = over_links(world.transport(), world.rank, pretence)
    member = Member(crew, transport, WorkQueue(threads), stage, source)
    member.start_bytes = start_bytes
    if pretence is not None:
        member.pace_at = partial(pretence.speed, world.rank)
    return member


def told(world: World, brief: Brief | None) -> Brief:
    """The brief of rank 0 on every rank."""
    return from_plain(Brief, world.share(lambda: to_plain(brief)), "brief")


def only_evaluating(job: Job) -> Job:
    """The same job for a pipeline that never trains: no gradients and no optimizer state are made."""
    return replace(job, train=replace(job.train, optimizer="none"))


def one_sequence(job: Job) -> Job:
    """The same job for a pipeline that takes one sample at a time."""
    return replace(job, train=replace(job.train, batch=1, micro_batch=1))


def _make_stage(crew: Crew, host: str) -> tuple[Stage | None, dict[str, Any]]:
    share, mine = share_of(crew), crew.stage_plan
    if share is None or mine is None:
        return None, {}
    free = memory()[1]
    where = f"host {host} (rank {crew.rank})"
    needs = f"{mine.bytes:,} bytes ({human_bytes(mine.bytes)}) for layers {share.first} to {share.last - 1}"
    if mine.bytes > free:
        return None, {"short": f"{where} has {free:,} bytes free and needs {needs}"}
    try:
        stage = Stage(share)
    except MemoryError:
        return None, {"short": f"{where} could not allocate {needs}; it has {free:,} bytes free"}
    ports = ports_of(crew)
    ends = {"in": ports.act_in.facts(), "out": ports.act_out.facts(), "back": gradient_port(ports.act_out).facts()}
    return stage, ends


def _check_ready(verdicts: list[dict[str, Any]], plan: Plan) -> bool:
    short = [verdict["short"] for verdict in verdicts if "short" in verdict]
    if short:
        remedy = "help: more ranks, a smaller train.micro_batch, or plan.schedule=1f1b"
        raise PlanError("memory", "; ".join(short), "room for every stage before training begins", remedy)
    for before, after in zip(plan.stages, plan.stages[1:], strict=False):
        sends, receives = verdicts[before.rank]["out"], verdicts[after.rank]["in"]
        if sends != receives:
            found = f"rank {before.rank} sends {sends}, rank {after.rank} receives {receives}"
            raise PlanError("messages", found, "the same on both sides")
    return True


def _make_source(crew: Crew) -> Source:
    model, plan = crew.model, crew.plan
    slots = min(plan.micros, plan.stages[0].in_flight, SLOTS) + 1
    target = model.loss.target_shape(model.shapes[-1])
    return Source(slots, plan.batch, plan.micro_batch, model.shapes[0], target, model.loss.labels)
