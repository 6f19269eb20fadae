"""Everyone knows: rank 0 tells job, shapes and plan; every rank makes its stages and says that it is ready."""

import os
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
from mpipipe.runtime.crew import CONDUCTOR, Crew, ports_of, shares_of
from mpipipe.runtime.heartbeat import Peer
from mpipipe.runtime.member import Member
from mpipipe.runtime.slow_links import over_links
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.workqueue import WorkQueue
from mpipipe.runtime.world import World
from mpipipe.schedule import lane_of, sample_slots


@dataclass(frozen=True)
class Brief:
    """What rank 0 tells every rank."""

    job: Job
    input_shape: tuple[int, ...]
    plan: Plan


def enlist(world: World, brief: Brief, pretence: Pretence | None = None) -> Member:
    """Make this rank's stages, agree with all others, and be ready. Raises PlanError where a host lacks the memory."""
    model = build_model(brief.job.model, brief.input_shape)
    crew = Crew(world.rank, brief.plan, model, brief.job)
    start_bytes = start_peak()
    stages, verdict = _make_stages(crew, world.host)
    verdicts = world.gather({"host": world.host, "pid": os.getpid(), **verdict})
    world.share(lambda: _check_ready(verdicts or [], brief.plan))
    source = _make_source(crew) if world.rank == CONDUCTOR else None
    transport = over_links(world.transport(), world.rank, pretence)
    member = Member(crew, transport, WorkQueue(crew.threads), stages, source)
    member.start_bytes = start_bytes
    member.peers = tuple(Peer(rank, each["host"], each["pid"]) for rank, each in enumerate(verdicts or []))
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


def _make_stages(crew: Crew, host: str) -> tuple[tuple[Stage, ...], dict[str, Any]]:
    """The stages and, for all ranks to see, what is short or the ends of each stage."""
    free, planned = memory()[1], sum(mine.bytes for mine in crew.stage_plans)
    where = f"host {host} (rank {crew.rank})"
    layers = " and ".join(f"{mine.first} to {mine.last - 1}" for mine in crew.stage_plans)
    needs = f"{planned:,} bytes ({human_bytes(planned)}) for layers {layers}"
    if planned > free:
        return (), {"short": f"{where} has {free:,} bytes free and needs {needs}"}
    try:
        stages = tuple(Stage(share) for share in shares_of(crew))
    except MemoryError:
        return (), {"short": f"{where} could not allocate {needs}; it has {free:,} bytes free"}
    ports = [ports_of(crew, stage) for stage in crew.chunks]
    return stages, {"in": [ends.act_in.facts() for ends in ports], "out": [ends.act_out.facts() for ends in ports]}


def _check_ready(verdicts: list[dict[str, Any]], plan: Plan) -> bool:
    short = [verdict["short"] for verdict in verdicts if "short" in verdict]
    if short:
        remedy = "help: more ranks, a smaller train.micro_batch, or plan.schedule=1f1b"
        raise PlanError("memory", "; ".join(short), "room for every stage before training begins", remedy)
    places = lane_of(plan.placement)
    for (sender, out), (receiver, into) in zip(places, places[1:], strict=False):
        before, after = plan.lanes[sender], plan.lanes[receiver]
        sends, receives = verdicts[before]["out"][out], verdicts[after]["in"][into]
        if sends != receives:
            found = f"rank {before} sends {sends}, rank {after} receives {receives}"
            raise PlanError("messages", found, "the same on both sides")
    return True


def _make_source(crew: Crew) -> Source:
    model, plan = crew.model, crew.plan
    slots = sample_slots(plan.micros, plan.stages[0].in_flight)
    target = model.loss.target_shape(model.shapes[-1])
    return Source(slots, plan.batch, plan.micro_batch, model.shapes[0], target, model.loss.labels)
