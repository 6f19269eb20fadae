"""What evaluate, predict and generate share: a checkpoint's model laid out over the ranks, forwards only."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpipipe.checkpoint import Checkpoint, open_checkpoint
from mpipipe.enlist import Brief, enlist, one_sequence, only_evaluating
from mpipipe.errors import UserError
from mpipipe.job import Job, job_from_text
from mpipipe.layers import Model, build_model, forward_only, generating, layer_costs
from mpipipe.plan import make_plan
from mpipipe.records import from_plain, to_plain
from mpipipe.report import hosts_table, plan_table, show, warn
from mpipipe.resources import Cluster
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.serve import serve
from mpipipe.runtime.weights import hand_out
from mpipipe.runtime.world import World
from mpipipe.start import Request, bytes_besides_stages, model_of, settings_of
from mpipipe.survey import survey, versions_notices, wishes


@dataclass(frozen=True)
class Loaded:
    """On rank 0: the open checkpoint, the job it was trained with and settings on top, and the model."""

    checkpoint: Checkpoint
    job: Job
    model: Model


def with_pipeline(
    world: World,
    request: Request,
    prepare: Callable[[Loaded], None],
    use: Callable[[Loaded, Conductor], None],
    generates: bool = False,
) -> int:
    """Load `request.checkpoint` onto all ranks and let rank 0 `use` it. `prepare` may refuse the user's input first.

    Where it `generates` there is one sequence at a time, and room for what is kept of it.
    """
    with ExitStack() as stack:
        loaded: Loaded | None = None

        def begin() -> Any:
            nonlocal loaded
            loaded = _load(stack.enter_context(open_checkpoint(Path(request.checkpoint or ""))), request)
            if generates:
                loaded = replace(loaded, job=one_sequence(loaded.job))
            prepare(loaded)
            return wishes(loaded.job)

        cluster = survey(world, world.share(begin))
        notices = versions_notices(world, cluster)
        told = world.share(lambda: to_plain(_plan(loaded, cluster, notices, request, generates)))
        brief = from_plain(Brief, told, "brief")
        member = enlist(world, brief)
        hand_out(member, loaded.checkpoint.read if loaded else None)
        if loaded is None:
            return serve(member)
        conductor = Conductor(member)
        try:
            use(loaded, conductor)
        except UserError as error:
            world.told = True
            conductor.stop(error.status)
            raise
        conductor.stop(0)
        return 0


def _load(checkpoint: Checkpoint, request: Request) -> Loaded:
    model_of(checkpoint)
    job = job_from_text(checkpoint.facts.job, f"job of {checkpoint.path}", settings_of(request))
    job = only_evaluating(job)
    return Loaded(checkpoint, job, build_model(job.model, checkpoint.facts.data.input_shape))


def _plan(
    loaded: Loaded | None, cluster: Cluster | None, notices: list[str], request: Request, generates: bool
) -> Brief:
    assert loaded is not None and cluster is not None
    job = loaded.job
    if job.plan.cuts or isinstance(job.plan.ranks, int):
        # How many ranks trained the model says nothing of how many evaluate it, unless the user says so now.
        asked = any(setting.startswith("plan.") for setting in request.sets)
        job = job if asked else replace(job, plan=replace(job.plan, cuts=(), ranks="all"))
    show(hosts_table(cluster), request.quiet)
    for notice in notices:
        warn(notice, request.quiet)
    costs = forward_only(layer_costs(loaded.model, job.train))
    reserved = bytes_besides_stages(loaded.model, job.train, len(cluster.hosts))
    plan = make_plan(generating(loaded.model, costs) if generates else costs, cluster, job, reserved)
    show(plan_table(plan), request.quiet)
    return Brief(job, loaded.model.shapes[0], plan)
