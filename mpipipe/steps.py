"""The steps of one run, on rank 0: batch after batch, with metrics, validation and checkpoints as they fall due."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mpipipe.checkpoint import Facts, Position, Writer, checkpoint_path, drop_old
from mpipipe.data import Batch, batches, steps_per_epoch
from mpipipe.job import job_to_text
from mpipipe.layers import learning_rate
from mpipipe.records import to_plain
from mpipipe.replan import Replanner
from mpipipe.report import (
    MetricsRow,
    Moment,
    dispensable,
    human_bytes,
    human_seconds,
    open_log,
    progress,
    warn,
    write_json,
)
from mpipipe.report.timeline import make_timeline, write_timeline
from mpipipe.resources import arithmetic
from mpipipe.run import Run
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.result import StepResult
from mpipipe.runtime.signals import Signals

NOTICEABLE_S = 0.5e-3
"""Pauses that are shorter are not worth a line."""


class Steps:
    """The steps of one run, with what must be remembered between them."""

    def __init__(self, run: Run, conductor: Conductor, signals: Signals) -> None:
        self.run, self.conductor, self.signals = run, conductor, signals
        self.data = run.samples.data
        self.began = self.saved_at = time.monotonic()
        self.saved_step = run.position.step if run.position.step else -1
        self.position = run.position
        self.row: MetricsRow | None = None
        self.samples_done = 0
        self.peak_bytes: tuple[int, ...] = ()
        self.train_s = 0.0
        self.pause_owed = ""
        self.validated: tuple[float | None, float | None] = (None, None)
        self.newest: Path | None = None
        self.stopped = "finished"
        self.terminated = False
        self.saved: Callable[[], None] = lambda: None
        """Called for every checkpoint that is whole."""
        self.replanner = Replanner(conductor, run.cluster, self.set_apart)

    def run_all(self) -> None:
        """Train to the end, or until asked to stop."""
        run = self.run
        show_progress = progress(run.total_steps, run.quiet, run.position.step)
        with show_progress as self.bar, open_log(run.folder.metrics, run.position.step) as self.log:
            self.conductor.watch.notice = self.bar.note
            settings = run.job.train
            rows = batches(
                self.data.train.count, settings.batch, settings.seed, self.position.epoch, self.position.offset
            )
            while self.position.step < run.last_step:
                self.one_step(next(rows))
                if self.asked_to_stop():
                    self.stopped = "interrupted"
                    break
            else:
                if self.position.step < run.total_steps:
                    self.stopped = "stop_after"
            if self.saved_step != self.position.step:
                self.save()
            self.conductor.finish_save()
            self.note_saved()

    def asked_to_stop(self) -> bool:
        """Whether a signal asks this rank to save and stop, or ended another one."""
        others = self.conductor.watch.asked()
        if others or self.signals.terminated:
            self.terminated = True
            who = "the run" if self.signals.terminated else others
            self.bar.note(f"{who} was told to end (TERM): saving a checkpoint, then stopping")
        return self.terminated or self.signals.stop_asked

    def one_step(self, batch: Batch) -> None:
        """A batch, its metrics, and what falls due after it."""
        run, step = self.run, self.position.step
        rate = learning_rate(run.job.train, step, run.total_steps)
        result = self.conductor.train(batch.rows, run.samples.feed(self.data.train), step, rate)
        ends_epoch = batch.offset + len(batch.rows) >= self.data.train.count
        after = Position(step + 1, batch.epoch + 1, 0) if ends_epoch else self._within(batch, step)
        self.position = after
        self.samples_done += len(batch.rows)
        self.peak_bytes = result.peak_bytes
        self.train_s += result.seconds
        self.note_pause(result)
        validated = self.validate() if self.validation_due(ends_epoch) else (None, None)
        self.record(batch, result, rate, validated)
        self.note_saved()
        self.plan_anew(batch, result)
        if self.checkpoint_due() and self.position.step < run.last_step:
            self.save()

    def plan_anew(self, batch: Batch, result: StepResult) -> None:
        """Let layers move where hosts are no longer as fast as they were planned for."""
        old = self.conductor.plan
        if len(batch.rows) != old.batch:
            return
        left = self.run.last_step - self.position.step
        for line in self.replanner.after(dict(result.compute_s), result.seconds, left):
            self.bar.note(f"step {self.position.step}: {line}")
        if self.conductor.plan is not old:
            with dispensable("plan.json", self.notice):
                write_json(self.run.folder.plan, self.conductor.plan)
            self.peak_bytes = ()

    def set_apart(self) -> None:
        """Keep plan and timeline up to now, before others take their place."""
        self.leave_timeline()
        for path in (self.run.folder.plan, self.run.folder.timeline):
            with dispensable(f"a copy of {path.name}", self.notice):
                if path.exists():
                    path.replace(path.with_stem(f"{path.stem}-until-{self.position.step:08d}"))

    def _within(self, batch: Batch, step: int) -> Position:
        return Position(step + 1, batch.epoch, batch.offset + len(batch.rows))

    def record(
        self, batch: Batch, result: StepResult, rate: float, validated: tuple[float | None, float | None]
    ) -> None:
        """The step's line in metrics.csv and its moment on the screen."""
        speed, step = len(batch.rows) / result.seconds, self.position.step
        accuracy = result.accuracy if self.data.labels else None
        loss = result.loss * self.run.samples.targets.squared_unit
        self.row = MetricsRow(
            step, batch.epoch + 1, loss, accuracy, speed, rate, result.norm, result.bubble, result.seconds,
            *validated,
        )  # fmt: skip
        self.log.write(self.row)
        epochs = -(-self.run.total_steps // steps_per_epoch(self.data.train.count, self.run.job.train.batch))
        self.bar.update(Moment(step, batch.epoch + 1, epochs, loss, accuracy, speed, result.busy))

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
        loss, right, counted = self.conductor.evaluate(np.arange(count), feed)
        loss *= self.run.samples.targets.squared_unit
        self.validated = (loss / max(1, counted), right / max(1, counted) if self.data.labels else None)
        return self.validated

    def checkpoint_due(self) -> bool:
        """Every run.checkpoint_every steps or run.checkpoint_minutes minutes, whichever comes first."""
        settings, step = self.run.job.run, self.position.step
        by_steps = settings.checkpoint_every and step % settings.checkpoint_every == 0
        minutes = (time.monotonic() - self.saved_at) / 60
        return bool(by_steps or (settings.checkpoint_minutes and minutes >= settings.checkpoint_minutes))

    def save(self) -> None:
        """Begin a checkpoint of the weights as they are."""
        run, plan, position = self.run, self.conductor.plan, self.position
        host = run.cluster.hosts[0]
        versions = {"mpipipe": host.mpipipe, "python": host.python, "mpi": host.mpi, **arithmetic(run.cluster)}
        facts = Facts(
            position,
            run.job.train.seed,
            job_to_text(run.job),
            json.dumps(to_plain(plan)),
            json.dumps(versions),
            run.data_facts,
        )
        path = checkpoint_path(run.folder.checkpoints, position.step)
        every = self.conductor.pieces
        self.leave_timeline()
        self.conductor.save(lambda: Writer(path, facts, run.samples.kept, every))
        self.saved_step, self.saved_at = position.step, time.monotonic()
        self.pause_owed = path.name

    def leave_timeline(self) -> None:
        """Write down when things were done, by clocks compared once more: only between two steps."""
        self.conductor.compare_clocks()
        self.write_timeline()

    def write_timeline(self) -> None:
        """Write down when things were done, as far as is known. What an earlier run left is replaced."""
        with dispensable(self.run.folder.timeline.name, self.notice):
            records = self.conductor.listener.records()
            if records:
                timeline = make_timeline(self.conductor.plan, self.conductor.clocks, records)
                write_timeline(timeline, self.run.folder.timeline)

    def notice(self, text: str) -> None:
        """Tell what the user should know even where nothing else is told."""
        if self.run.quiet:
            warn(text, quiet=True)
        else:
            self.bar.note(f"notice: {text}")

    def note_pause(self, result: StepResult) -> None:
        """Tell what the checkpoint under way cost this step."""
        if self.pause_owed and result.pause_s >= NOTICEABLE_S:
            self.bar.note(f"{self.pause_owed}: saving paused this step for {human_seconds(result.pause_s)}")
        self.pause_owed = ""

    def note_saved(self) -> None:
        """Tell of checkpoints that are whole now, and drop the oldest."""
        saved = self.conductor.saved_paths()
        for path in saved:
            seconds = time.monotonic() - self.saved_at
            self.bar.note(f"saved {path} ({human_bytes(path.stat().st_size)} in {human_seconds(seconds)})")
        if saved:
            self.newest = saved[-1]
            drop_old(self.newest.parent, self.run.job.run.keep, self.newest)
            self.saved()
