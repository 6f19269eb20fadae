"""Training, told once: who is here, who gets what, everyone knows, weights, steps, checkpoints, what is left."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from mpipipe.calibration import Subject, recall, remember
from mpipipe.checkpoint import (
    Checkpoint,
    compare_models,
    drop_temporary,
    list_checkpoints,
    open_checkpoint,
)
from mpipipe.enlist import Brief, enlist
from mpipipe.errors import InterruptedRunError, StallError, UserError
from mpipipe.fit import check_inputs, check_micro_batches, check_targets, looks_ahead
from mpipipe.job import job_to_text
from mpipipe.launcher import note_outcome
from mpipipe.layers import build_model
from mpipipe.measure import measure
from mpipipe.planning import plan_job
from mpipipe.records import from_plain, to_plain
from mpipipe.report import (
    Memory,
    Summary,
    bits,
    bits_text,
    draw_loss,
    hosts_table,
    human_seconds,
    memory_text,
    of_tokens,
    plan_table,
    plan_text,
    plural,
    read_metrics,
    show,
    warn,
    write_json,
    write_text,
)
from mpipipe.report.compared_table import bubble_lines
from mpipipe.resources import Cluster, peak_since
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.serve import serve
from mpipipe.runtime.signals import Signals
from mpipipe.runtime.weights import hand_out
from mpipipe.runtime.world import World
from mpipipe.start import (
    Request,
    Samples,
    Start,
    changes,
    check_position,
    find_start,
    fit_batch,
    open_folder,
    open_samples,
    start_position,
    with_micro_batch,
)
from mpipipe.steps import Run, Steps
from mpipipe.survey import (
    agree_to_pretend,
    changed_rounding,
    host_notices,
    pretence_notices,
    survey,
    wishes,
    with_kernel,
)


def train(world: World, request: Request, signals: Signals) -> int:
    """The whole command, on every rank; the exit status."""
    with ExitStack() as stack:
        lead = Lead(request, stack)
        pretence = agree_to_pretend(world, request.pretend)
        wanted = world.share(lead.read_job)
        cluster = survey(world, wanted, pretence)
        notices = [*pretence_notices(pretence, request.pretend), *host_notices(world, cluster, wanted)]
        world.share(lambda: lead.open(cluster, notices))
        subject = measure(world, lead.subject, pretence)
        brief = from_plain(Brief, world.share(lambda: lead.make_brief(subject)), "brief")
        member = enlist(world, brief, pretence)
        world.share(lead.open_folder)
        hand_out(member, lead.stored.read if lead.stored else None)
        if lead.run is None:
            return serve(member)
        conductor = Conductor(member)
        try:
            conductor.compare_clocks()
            status = _conduct(lead.run, conductor, signals)
        except UserError as error:
            world.told = True
            conductor.stop(error.status)
            raise
        except BaseException:
            conductor.abandon_save()
            drop_temporary(lead.run.folder.checkpoints)
            raise
        conductor.stop(status)
        return status


class Lead:
    """Rank 0 on its way to a Run: job, data, plan, folder, in this order. On other ranks nothing of it is ever called.

    Each step may find a user's error, and all ranks end then; so the folder is made last, when all of them are ready.
    """

    def __init__(self, request: Request, stack: ExitStack) -> None:
        self.request, self.stack = request, stack
        self.start: Start | None = None
        self.stored: Checkpoint | None = None
        self.samples: Samples | None = None
        self.subject: Subject | None = None
        self.brief: Brief | None = None
        self.run: Run | None = None

    def read_job(self) -> Any:
        """Read the job, from its file or from the checkpoint to go on from; what it wishes of the hosts."""
        self.start = find_start(self.request)
        return wishes(self.start.job)

    def open(self, cluster: Cluster | None, notices: Sequence[str]) -> bool:
        """Show the hosts, open the data, and know what is to be measured."""
        assert self.start is not None and cluster is not None
        self.start = with_kernel(self.start, cluster.kernel)
        job, quiet = self.start.job, self.request.quiet
        show(hosts_table(cluster), quiet)
        if self.start.checkpoint:
            self.stored = self.stack.enter_context(open_checkpoint(self.start.checkpoint))
        versions = self.stored.facts.versions if self.stored else "{}"
        for notice in (*self.start.notices, *notices, *changed_rounding(versions, cluster)):
            warn(notice, quiet)
        samples = self.samples = open_samples(job, self.stored)
        model = build_model(job.model, samples.data.train.shape)
        for notice in samples.data.notices:
            warn(notice, quiet)
        check_inputs(samples.data, model, job.data.path)
        check_targets(samples.data, model, job.data.path)
        if self.stored is not None:
            compare_models(self.stored.shapes, model, str(self.stored.path))
            for notice in changes(self.start, self.stored, samples):
                warn(notice, quiet)
            check_position(start_position(self.stored), samples, job.data.path)
        job = fit_batch(job, samples)
        count = samples.data.train.count
        notices = check_micro_batches(model, job.train, count) if job.train.micro_batch else []
        for notice in (*notices, *looks_ahead(model, samples.data)):
            warn(notice, quiet)
        subject = Subject(cluster, job, model, samples.seconds_each())
        self.subject = subject if self.request.pretend else recall(subject, quiet)
        return True

    def make_brief(self, subject: Subject | None) -> object:
        """Plan for what was measured; the brief for all ranks as plain data."""
        assert subject is not None
        assert self.start is not None
        self.subject, model, quiet = subject, subject.model, self.request.quiet
        job, plan = plan_job(subject)
        if not subject.job.train.micro_batch:
            self.start = with_micro_batch(self.start, plan.micro_batch)
        show(plan_table(plan), quiet)
        for line in plan_text(plan):
            show(line, quiet)
        self.brief = Brief(job, model.shapes[0], plan)
        return to_plain(self.brief)

    def open_folder(self) -> bool:
        """Make the run's folder, or open the one that is gone on with, and write down what is planned."""
        assert self.start is not None and self.samples is not None
        assert self.subject is not None and self.brief is not None
        cluster, quiet = self.subject.cluster, self.request.quiet
        folder = open_folder(self.request, self.start)
        note_outcome(f"folder {folder.path}")
        remember(self.subject, quiet)
        write_text(folder.job, job_to_text(self.start.job))
        write_json(folder.cluster, cluster)
        write_json(folder.plan, self.brief.plan)
        position = start_position(self.stored)
        self.run = Run(self.start.job, folder, self.samples, position, self.brief, cluster, quiet)
        return True


def _conduct(run: Run, conductor: Conductor, signals: Signals) -> int:
    steps = Steps(run, conductor, signals)
    try:
        steps.run_all()
    except KeyboardInterrupt:
        dead = conductor.watch.dead(conductor.member.peers[CONDUCTOR].host)
        raise InterruptedRunError(f"{dead}{_interrupted(run, steps)}") from None
    except StallError as error:
        raise StallError(f"{error}; {_interrupted(run, steps)}") from None
    _leave(run, steps)
    return 0


def _interrupted(run: Run, steps: Steps) -> str:
    steps.conductor.abandon_save()
    with suppress(UserError):
        steps.write_timeline()
    every = list_checkpoints(run.folder.checkpoints)
    kept = f"the newest checkpoint is {every[-1]}" if every else "no checkpoint had been written"
    going_on = f"; go on with: python -m mpipipe train --resume --out {run.folder.path}" if every else ""
    return f"interrupted after step {steps.position.step}; {kept}{going_on}"


def _leave(run: Run, steps: Steps) -> None:
    """summary.json, loss.png, and what was reached."""
    note_outcome(f"stopped {steps.stopped}")
    if steps.row is None:
        show(f"nothing is left to train: step {steps.position.step} of {run.total_steps} was reached before", run.quiet)
        return
    draw_loss(read_metrics(run.folder.metrics), run.folder.picture)
    row, seconds, plan = steps.row, time.monotonic() - steps.began, steps.conductor.plan
    loss, accuracy = steps.validated
    speed = steps.samples_done / steps.train_s if steps.train_s else None
    summary = Summary(
        job=run.job.name,
        steps=steps.position.step,
        epochs=steps.position.epoch,
        samples=steps.position.epoch * run.samples.data.train.count + steps.position.offset,
        loss=row.loss,
        accuracy=row.accuracy,
        validation_loss=loss,
        validation_accuracy=accuracy,
        validation_bits=bits(run.samples.data, loss),
        seconds=seconds,
        samples_per_s=speed,
        ranks=plan.ranks,
        stages=len(plan.stages),
        schedule=plan.schedule,
        bubble=row.bubble,
        checkpoint=steps.newest.name if steps.newest else None,
        stopped=steps.stopped,
        memory=_memory(run, steps),
    )
    write_json(run.folder.summary, summary)
    for line in _closing(run, summary, seconds):
        show(line)


def _memory(run: Run, steps: Steps) -> tuple[Memory, ...]:
    """What each rank took, of what was planned; rank 0 up to now, the others up to the last step."""
    plan, member = steps.conductor.plan, steps.conductor.member
    taken = dict(zip(plan.lanes, steps.peak_bytes, strict=False))
    taken[CONDUCTOR] = peak_since(member.start_bytes)
    planned = steps.replanner.planned_bytes
    return tuple(Memory(rank, planned[rank], taken[rank]) for rank in plan.lanes)


def _closing(run: Run, summary: Summary, seconds: float) -> list[str]:
    reached = f"trained {summary.steps} of {plural(run.total_steps, 'step')} in {human_seconds(seconds)}"
    if summary.samples_per_s:
        reached += f", {summary.samples_per_s:,.0f} samples/s"
    lines = [f"{reached}, on {len(run.brief.plan.lanes)} of {plural(summary.ranks, 'rank')}"]
    data = run.samples.data
    held = f"on the {data.validation.count:,} held-back samples{of_tokens(data)}"
    if summary.validation_accuracy is not None:
        lines.append(f"accuracy {held}: {summary.validation_accuracy:.2%}{bits_text(data, summary.validation_bits)}")
    elif summary.validation_loss is not None:
        lines.append(f"loss {held}: {summary.validation_loss:.6g}")
    lines.append(memory_text(summary.memory))
    if summary.stopped != "finished":
        lines.append(f"stopped before the end; go on with: python -m mpipipe train --resume --out {run.folder.path}")
    return [*lines, *bubble_lines(run.folder), f"results are in {run.folder.path}"]
