"""Training, told once: who is here, who gets what, everyone knows, weights, steps, checkpoints, what is left."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpipipe.checkpoint import (
    Checkpoint,
    DataFacts,
    Facts,
    Position,
    Writer,
    checkpoint_path,
    compare_models,
    drop_old,
    drop_temporary,
    open_checkpoint,
)
from mpipipe.data import Batch, batches, steps_per_epoch
from mpipipe.enlist import Brief, enlist
from mpipipe.errors import InterruptedRunError, UserError
from mpipipe.job import Job, job_to_text
from mpipipe.layers import build_model, layer_costs, learning_rate
from mpipipe.plan import make_plan
from mpipipe.records import from_plain, to_plain
from mpipipe.report import (
    MetricsRow,
    Moment,
    RunFolder,
    Summary,
    draw_loss,
    hosts_table,
    human_seconds,
    open_log,
    plan_table,
    plan_text,
    progress,
    read_metrics,
    show,
    write_json,
    write_text,
)
from mpipipe.resources import Cluster
from mpipipe.runtime.conduct import Conductor, StepResult
from mpipipe.runtime.serve import serve
from mpipipe.runtime.signals import Signals
from mpipipe.runtime.weights import hand_out
from mpipipe.runtime.world import World
from mpipipe.start import (
    Request,
    Samples,
    Start,
    check_targets,
    find_start,
    open_folder,
    open_samples,
    start_position,
)
from mpipipe.survey import survey, versions_notices


@dataclass(frozen=True)
class Run:
    """What rank 0 has in hand once everything is ready."""

    job: Job
    folder: RunFolder
    samples: Samples
    position: Position
    facts: DataFacts
    brief: Brief
    cluster: Cluster
    quiet: bool

    @property
    def total_steps(self) -> int:
        """Steps of the whole job."""
        train = self.job.train
        return train.steps or train.epochs * steps_per_epoch(self.samples.data.train.count, train.batch)

    @property
    def last_step(self) -> int:
        """Steps after which this run ends: run.stop_after may end it before the job's end."""
        stop = self.job.run.stop_after
        return min(self.total_steps, self.position.step + stop) if stop else self.total_steps


def train(world: World, request: Request, signals: Signals) -> int:
    """The whole command, on every rank; the exit status."""
    with ExitStack() as stack:
        start: Start | None = None

        def begin() -> int:
            nonlocal start
            start = find_start(request)
            return start.job.run.threads

        cluster = survey(world, world.share(begin))
        notices = versions_notices(world, cluster)
        run: Run | None = None
        stored: Checkpoint | None = None

        def prepare() -> object:
            nonlocal run, stored
            assert start is not None and cluster is not None
            stored = stack.enter_context(open_checkpoint(start.checkpoint)) if start.checkpoint else None
            run = _prepare(request, start, cluster, stored, [*start.notices, *notices])
            return to_plain(run.brief)

        brief = from_plain(Brief, world.share(prepare), "brief")
        member = enlist(world, brief)
        hand_out(member, stored.read if stored else None)
        if run is None:
            return serve(member)
        conductor = Conductor(member)
        try:
            status = _conduct(run, conductor, signals)
        except KeyboardInterrupt:
            drop_temporary(run.folder.checkpoints)
            raise
        except UserError as error:
            world.told = True
            conductor.stop(error.status)
            raise
        conductor.stop(status)
        return status


def _prepare(request: Request, start: Start, cluster: Cluster, stored: Checkpoint | None, notices: list[str]) -> Run:
    job = start.job
    show(hosts_table(cluster), request.quiet)
    for notice in notices:
        show(f"notice: {notice}", request.quiet)
    samples = open_samples(job, stored)
    shape = samples.data.train.shape
    model = build_model(job.model, shape)
    check_targets(samples.data, model, job.data.path)
    if stored is not None:
        compare_models(stored.shapes, model, str(stored.path))
    plan = make_plan(layer_costs(model, job.train), cluster, job)
    show(plan_table(plan), request.quiet)
    for line in plan_text(plan):
        show(line, request.quiet)
    data = samples.data
    facts = DataFacts(
        data.source, shape, data.target_shape, data.labels, data.classes, data.columns, samples.scaling.kind
    )
    folder = open_folder(request, start)
    folder.checkpoints.mkdir(exist_ok=True)
    write_text(folder.job, job_to_text(job))
    write_json(folder.cluster, cluster)
    write_json(folder.plan, plan)
    return Run(job, folder, samples, start_position(stored), facts, Brief(job, shape, plan), cluster, request.quiet)


class _Loop:
    """The steps of one run, with what must be remembered between them."""

    def __init__(self, run: Run, conductor: Conductor, signals: Signals) -> None:
        self.run, self.conductor, self.signals = run, conductor, signals
        self.data = run.samples.data
        self.began = self.saved_at = time.monotonic()
        self.saved_step = run.position.step if run.position.step else -1
        self.position = run.position
        self.row: MetricsRow | None = None
        self.samples_done = 0
        self.train_s = 0.0
        self.pause_owed = ""
        self.validated: tuple[float | None, float | None] = (None, None)
        self.newest: Path | None = None
        self.stopped = "finished"

    def steps(self) -> None:
        """Train to the end, or until asked to stop."""
        run = self.run
        show_progress = progress(run.total_steps, run.quiet, run.position.step)
        with show_progress as self.bar, open_log(run.folder.metrics, run.position.step) as self.log:
            settings = run.job.train
            rows = batches(
                self.data.train.count, settings.batch, settings.seed, self.position.epoch, self.position.offset
            )
            while self.position.step < run.last_step:
                self.one_step(next(rows))
                if self.signals.stop_asked:
                    self.stopped = "interrupted"
                    break
            else:
                if self.position.step < run.total_steps:
                    self.stopped = "stop_after"
            if self.saved_step != self.position.step:
                self.save()
            self.conductor.finish_save()
            self.note_saved()

    def one_step(self, batch: Batch) -> None:
        """A batch, its metrics, and what falls due after it."""
        run, step = self.run, self.position.step
        rate = learning_rate(run.job.train, step, run.total_steps)
        result = self.conductor.train(batch.rows, run.samples.feed(self.data.train), step, rate)
        ends_epoch = batch.offset + len(batch.rows) >= self.data.train.count
        after = Position(step + 1, batch.epoch + 1, 0) if ends_epoch else self._within(batch, step)
        self.position = after
        self.samples_done += len(batch.rows)
        self.train_s += result.seconds
        self.note_pause(result)
        validated = self.validate() if self.validation_due(ends_epoch) else (None, None)
        self.record(batch, result, rate, validated)
        self.note_saved()
        if self.checkpoint_due() and self.position.step < run.last_step:
            self.save()

    def _within(self, batch: Batch, step: int) -> Position:
        return Position(step + 1, batch.epoch, batch.offset + len(batch.rows))

    def record(
        self, batch: Batch, result: StepResult, rate: float, validated: tuple[float | None, float | None]
    ) -> None:
        """The step's line in metrics.csv and its moment on the screen."""
        speed, step = len(batch.rows) / result.seconds, self.position.step
        accuracy = result.accuracy if self.data.labels else None
        self.row = MetricsRow(
            step, batch.epoch + 1, result.loss, accuracy, speed, rate, result.norm, result.bubble, result.seconds,
            *validated,
        )  # fmt: skip
        self.log.write(self.row)
        epochs = -(-self.run.total_steps // steps_per_epoch(self.data.train.count, self.run.job.train.batch))
        self.bar.update(Moment(step, batch.epoch + 1, epochs, result.loss, accuracy, speed, result.busy))

    def validation_due(self, ends_epoch: bool) -> bool:
        """At the end of every epoch, or every run.validate_every steps; and at the very end."""
        every, step = self.run.job.run.validate_every, self.position.step
        if not self.data.validation.count:
            return False
        return step == self.run.last_step or (step % every == 0 if every else ends_epoch)

    def validate(self) -> tuple[float | None, float | None]:
        """Mean loss and accuracy over the held-back samples."""
        count = self.data.validation.count
        feed = self.run.samples.feed(self.data.validation)
        loss, right = self.conductor.evaluate(np.arange(count), feed)
        self.validated = (loss / count, right / count if self.data.labels else None)
        return self.validated

    def checkpoint_due(self) -> bool:
        """Every run.checkpoint_every steps or run.checkpoint_minutes minutes, whichever comes first."""
        settings, step = self.run.job.run, self.position.step
        by_steps = settings.checkpoint_every and step % settings.checkpoint_every == 0
        minutes = (time.monotonic() - self.saved_at) / 60
        return bool(by_steps or (settings.checkpoint_minutes and minutes >= settings.checkpoint_minutes))

    def save(self) -> None:
        """Begin a checkpoint of the weights as they are."""
        run, plan, position = self.run, self.run.brief.plan, self.position
        host = run.cluster.hosts[0]
        versions = {"mpipipe": host.mpipipe, "python": host.python, "numpy": host.numpy, "mpi": host.mpi}
        facts = Facts(
            position,
            run.job.train.seed,
            job_to_text(run.job),
            json.dumps(to_plain(plan)),
            json.dumps(versions),
            run.facts,
        )
        scaling = {"shift": run.samples.scaling.shift, "factor": run.samples.scaling.factor}
        path = checkpoint_path(run.folder.checkpoints, position.step)
        every = self.conductor.pieces
        self.conductor.save(lambda: Writer(path, facts, scaling, every))
        self.saved_step, self.saved_at = position.step, time.monotonic()
        self.pause_owed = path.name

    def note_pause(self, result: StepResult) -> None:
        """Tell what the checkpoint under way cost this step."""
        if self.pause_owed:
            self.bar.note(f"{self.pause_owed}: saving paused this step for {result.pause_s * 1e3:.1f} ms")
            self.pause_owed = ""

    def note_saved(self) -> None:
        """Tell of checkpoints that are whole now, and drop the oldest."""
        for path in self.conductor.saved_paths():
            self.newest = path
            self.bar.note(f"saved {path}")
            drop_old(path.parent, self.run.job.run.keep)


def _conduct(run: Run, conductor: Conductor, signals: Signals) -> int:
    loop = _Loop(run, conductor, signals)
    try:
        loop.steps()
    except KeyboardInterrupt:
        raise InterruptedRunError(_interrupted(run, loop)) from None
    _leave(run, loop)
    return 0


def _interrupted(run: Run, loop: _Loop) -> str:
    drop_temporary(run.folder.checkpoints)
    kept = f"the newest checkpoint is {loop.newest}" if loop.newest else "no checkpoint had been written by this run"
    return f"interrupted after step {loop.position.step}; {kept}"


def _leave(run: Run, loop: _Loop) -> None:
    """summary.json, loss.png, and what was reached."""
    row, seconds, plan = loop.row, time.monotonic() - loop.began, run.brief.plan
    loss, accuracy = loop.validated
    speed = loop.samples_done / loop.train_s if loop.train_s else None
    summary = Summary(
        job=run.job.name,
        steps=loop.position.step,
        epochs=loop.position.epoch,
        samples=loop.position.epoch * run.samples.data.train.count + loop.position.offset,
        loss=row.loss if row else None,
        accuracy=row.accuracy if row else None,
        validation_loss=loss,
        validation_accuracy=accuracy,
        seconds=seconds,
        samples_per_s=speed,
        ranks=plan.ranks,
        stages=len(plan.stages),
        schedule=plan.schedule,
        bubble=row.bubble if row else None,
        checkpoint=loop.newest.name if loop.newest else None,
        stopped=loop.stopped,
    )
    write_json(run.folder.summary, summary)
    draw_loss(read_metrics(run.folder.metrics), run.folder.picture)
    for line in _closing(run, summary, seconds):
        show(line, run.quiet)


def _closing(run: Run, summary: Summary, seconds: float) -> list[str]:
    reached = f"trained {summary.steps} of {run.total_steps} steps in {human_seconds(seconds)}"
    if summary.samples_per_s:
        reached += f", {summary.samples_per_s:,.0f} samples/s"
    lines = [f"{reached}, on {summary.stages} of {summary.ranks} ranks"]
    count = run.samples.data.validation.count
    if summary.validation_accuracy is not None:
        lines.append(f"accuracy on the {count:,} held-back samples: {summary.validation_accuracy:.2%}")
    elif summary.validation_loss is not None:
        lines.append(f"loss on the {count:,} held-back samples: {summary.validation_loss:.6g}")
    if summary.stopped != "finished":
        lines.append(f"stopped before the end; go on with: python -m mpipipe train --resume --out {run.folder.path}")
    return [*lines, f"results are in {run.folder.path}"]
