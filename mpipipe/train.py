"""Training, told once: who is here, who gets what, everyone knows, weights, steps, checkpoints, what is left."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mpipipe.calibration import Subject, recall, remember
from mpipipe.checkpoint import (
    Checkpoint,
    compare_models,
    drop_temporary,
    list_checkpoints,
    open_checkpoint,
)
from mpipipe.closing import leave
from mpipipe.data import identify
from mpipipe.enlist import Brief, enlist
from mpipipe.errors import InterruptedRunError, StallError, UserError
from mpipipe.fit import check_inputs, check_micro_batches, check_targets, looks_ahead
from mpipipe.job import job_to_text
from mpipipe.launcher import note_outcome
from mpipipe.layers import Model, build_model
from mpipipe.measure import measure
from mpipipe.planning import plan_job
from mpipipe.records import from_plain, to_plain
from mpipipe.report import (
    hosts_table,
    make_folder,
    plan_table,
    plan_text,
    show,
    warn,
    write_json,
    write_text,
)
from mpipipe.resources import Cluster
from mpipipe.resume import Start, changes, check_position, find_start, start_position, with_micro_batch
from mpipipe.run import Run
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.lifeline import Lifeline
from mpipipe.runtime.serve import serve
from mpipipe.runtime.signals import Signals
from mpipipe.runtime.weights import hand_out
from mpipipe.runtime.world import World
from mpipipe.start import Request, Samples, fit_batch, open_samples
from mpipipe.steps import Steps
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
        wanted = world.share(lead.begin)
        cluster = survey(world, wanted, pretence)
        notices = [*pretence_notices(pretence, request.pretend), *host_notices(world, cluster, wanted)]
        world.share(lambda: lead.meet(cluster, notices))
        subject = measure(world, lead.subject, pretence)
        brief = from_plain(Brief, world.share(lambda: lead.make_brief(subject)), "brief")
        member = enlist(world, brief, pretence)
        world.share(lead.fill_folder)
        hand_out(member, lead.stored.read if lead.stored else None)
        if lead.run is None:
            assert member.heart is not None
            member.heart.asked = lambda: signals.terminated
            with signals.saving():
                return serve(member)
        conductor = Conductor(member)
        try:
            conductor.compare_clocks()
            status = _conduct(lead.run, conductor, signals, world.lifeline)
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
    """Rank 0 on its way to a Run: folder, job, data, plan, in this order. On other ranks nothing of it is ever called.

    Each step may find a user's error, and all ranks end then; so what needs no measuring is checked first of all, and
    nothing is written into the folder until all ranks are ready.
    """

    def __init__(self, request: Request, stack: ExitStack) -> None:
        self.request, self.stack = request, stack
        self.start: Start | None = None
        self.stored: Checkpoint | None = None
        self.samples: Samples | None = None
        self.model: Model | None = None
        self.notices: list[str] = []
        self.subject: Subject | None = None
        self.brief: Brief | None = None
        self.run: Run | None = None

    def begin(self) -> Any:
        """Take the folder; open the checkpoint to go on from, if any, and the data; what the job wishes of the
        hosts."""
        start = self.start = find_start(self.request, self.stack)
        job = start.job
        if start.checkpoint:
            self.stored = self.stack.enter_context(open_checkpoint(start.checkpoint))
        samples = open_samples(job, self.stored)
        samples = self.samples = replace(samples, identity=identify(samples.data))
        model = self.model = build_model(job.model, samples.data.train.shape)
        self.notices += samples.data.notices
        check_inputs(samples.data, model, job.data.path)
        check_targets(samples.data, model, job.data.path)
        if self.stored is not None:
            compare_models(self.stored.shapes, model, str(self.stored.path))
            self.notices += changes(start, self.stored, samples)
            check_position(start_position(self.stored), samples, job.data.path)
        train, count = fit_batch(job, samples).train, samples.data.train.count
        self.notices += check_micro_batches(model, train, count) if train.micro_batch else []
        self.notices += looks_ahead(model, samples.data)
        return wishes(job)

    def meet(self, cluster: Cluster | None, notices: Sequence[str]) -> bool:
        """Show the hosts and all notices, and know what is to be measured."""
        assert self.start is not None and cluster is not None
        assert self.samples is not None and self.model is not None
        start, quiet = with_kernel(self.start, cluster.kernel), self.request.quiet
        self.start = start
        show(hosts_table(cluster), quiet)
        versions = self.stored.facts.versions if self.stored else "{}"
        for notice in (*start.notices, *notices, *changed_rounding(versions, cluster), *self.notices):
            warn(notice, quiet)
        job = fit_batch(start.job, self.samples)
        subject = Subject(cluster, job, self.model, self.samples.seconds_each())
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

    def fill_folder(self) -> bool:
        """Write down in the run's folder what is planned, with room for checkpoints."""
        assert self.start is not None and self.samples is not None
        assert self.subject is not None and self.brief is not None
        cluster, quiet = self.subject.cluster, self.request.quiet
        folder = self.start.folder
        make_folder(folder.checkpoints)
        drop_temporary(folder.checkpoints)
        note_outcome(f"folder {folder.path}")
        remember(self.subject, quiet)
        write_text(folder.job, job_to_text(self.start.job))
        write_json(folder.cluster, cluster)
        write_json(folder.plan, self.brief.plan)
        position = start_position(self.stored)
        self.run = Run(self.start.job, folder, self.samples, position, self.brief, cluster, quiet)
        return True


def _conduct(run: Run, conductor: Conductor, signals: Signals, lifeline: Lifeline) -> int:
    steps = Steps(run, conductor, signals)
    steps.saved = lambda: lifeline.know(rest=_rest(run))
    conductor.named = lambda peers: lifeline.know(names=[str(peer) for peer in peers])
    conductor.named(conductor.peers)
    steps.saved()
    try:
        with signals.saving():
            steps.run_all()
    except KeyboardInterrupt:
        dead = lifeline.lost() or conductor.watch.dead(conductor.member.peers[CONDUCTOR].host)
        raise InterruptedRunError(f"{dead}{_interrupted(run, steps)}") from None
    except StallError as error:
        raise StallError(f"{error}; {_interrupted(run, steps)}") from None
    leave(run, steps)
    return InterruptedRunError.status if steps.terminated else 0


def _interrupted(run: Run, steps: Steps) -> str:
    steps.conductor.abandon_save()
    steps.write_timeline()
    return f"interrupted after step {steps.position.step}; {_rest(run)}"


def _rest(run: Run) -> str:
    """What is left of an interrupted run, and how to go on."""
    every = list_checkpoints(run.folder.checkpoints)
    kept = f"the newest checkpoint is {every[-1]}" if every else "no checkpoint had been written"
    going_on = f"; go on with: python -m mpipipe train --resume --out {run.folder.path}" if every else ""
    return f"{kept}{going_on}"
