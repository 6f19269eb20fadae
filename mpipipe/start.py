"""Where a run starts: anew from a job, or from a checkpoint; and the folder in which it leaves its results."""

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpipipe.changes import changed_data, changed_settings, check_optimizer
from mpipipe.checkpoint import (
    Checkpoint,
    DataFacts,
    Position,
    compare_models,
    drop_temporary,
    later_checkpoints,
    newest_good,
    open_checkpoint,
    pieces,
)
from mpipipe.data import (
    DataSet,
    Identity,
    Part,
    Scaling,
    check_finite,
    held_back,
    identify,
    measure,
    open_data,
    steps_per_epoch,
)
from mpipipe.errors import CheckpointError, DataError
from mpipipe.fit import embeds
from mpipipe.job import Job, TrainSettings, job_from_text, read_job
from mpipipe.layers import Array, Model, build_model, find_loss
from mpipipe.report import RunFolder, existing_folder, latest_folder, make_folder, new_folder
from mpipipe.runtime.collect import BUFFERS
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.source import Feed
from mpipipe.schedule import SLOTS

TIMED_ROWS = 32
"""Samples that are loaded to see how long it takes: as many as an ordinary micro-batch has."""
PROCESS_BYTES = 3 << 18
"""What a rank takes besides its arrays, as measured: stacks of threads, MPI's buffers, Python's objects of a run."""
PICTURE_BYTES = 40 * 2**20
"""What the library takes that draws the picture of a run, at its end."""


@dataclass(frozen=True)
class Request:
    """What the command line asks of a run."""

    job: str | None = None
    sets: tuple[str, ...] = ()
    data: str | None = None
    out: str | None = None
    threads: int | None = None
    resume: bool = False
    checkpoint: str | None = None
    quiet: bool = False
    pretend: str | None = None


@dataclass(frozen=True)
class Samples:
    """An open data set with its scaling: what rank 0 feeds the pipeline from."""

    data: DataSet
    scaling: Scaling
    identity: Identity = Identity()

    def feed(self, part: Part) -> Feed:
        """Fills scaled features, and targets where wanted, of rows of a part."""

        def fill(rows: Array, x: Array, t: Array | None) -> None:
            part.fill(rows, x)
            self.scaling.apply(x)
            if t is not None:
                part.fill_targets(rows, t)

        return fill

    def seconds_each(self) -> float:
        """Seconds that it takes to load a sample, of some from all over the training part; the first ones do not
        count."""
        part = self.data.train
        rows = np.linspace(0, part.count - 1, min(part.count, TIMED_ROWS)).astype(np.int64)
        x = np.empty((len(rows), *part.shape), DTYPE)
        fill, taken = self.feed(part), []
        for _ in range(3):
            began = time.perf_counter()
            fill(rows, x, None)
            taken.append(time.perf_counter() - began)
        return min(taken[1:]) / len(rows)


@dataclass(frozen=True)
class Start:
    """Job, and where to go on from: `checkpoint` is None for a new run. `notices` are for the reader; `before` is the
    job that the checkpoint was written with."""

    job: Job
    checkpoint: Path | None
    folder: Path | None
    notices: tuple[str, ...] = ()
    before: Job | None = None


def settings_of(request: Request) -> tuple[str, ...]:
    """`--set` and the options that stand for job keys, in one list."""
    # A JSON string is a TOML string; Python's own quotes would leave a backslash to be read as one.
    extra = [] if request.data is None else [f"data.path={json.dumps(request.data, ensure_ascii=False)}"]
    extra += [] if request.threads is None else [f"run.threads={request.threads}"]
    return (*request.sets, *extra)


def find_start(request: Request) -> Start:
    """The effective job and, with `--resume`, the checkpoint to go on from. Raises JobError or CheckpointError."""
    if not request.resume:
        return Start(read_job(request.job or "digits", settings_of(request)), None, None)
    path, notices = _find_checkpoint(request)
    with open_checkpoint(path) as checkpoint:
        text, where, step = checkpoint.facts.job, f"job of {path}", checkpoint.facts.position.step
    if request.job:
        job = read_job(request.job, settings_of(request))
    else:
        # Where the earlier run was told to stop, and its hosts' threads, are no part of what is gone on with.
        job = job_from_text(text, where, ("run.stop_after=0", "run.threads=0", *settings_of(request)))
    before = job_from_text(text, where)
    job = _with_kept(job, before)
    folder = Path(request.out) if request.out else _home(path)
    check_optimizer(before, job)
    notices += _left_behind(folder, step)
    return Start(job, path, folder, tuple(notices), before)


def _with_kept(job: Job, before: Job) -> Job:
    """The same job; what it leaves open is what was chosen when the run began, for it decides how sums are rounded."""
    train, kept = job.train, before.train
    kernel = kept.kernel if train.kernel == "auto" else train.kernel
    micro_batch = train.micro_batch or min(kept.micro_batch, train.batch)
    return replace(job, train=replace(train, kernel=kernel, micro_batch=micro_batch))


def with_micro_batch(start: Start, micro_batch: int) -> Start:
    """The same start, its job naming the size that was chosen, so that a resumed run keeps it."""
    train = replace(start.job.train, micro_batch=micro_batch)
    return replace(start, job=replace(start.job, train=train))


def bytes_besides_stages(model: Model, train: TrainSettings, ranks: int) -> dict[int, int]:
    """By rank, what it takes besides its stages: its threads and MPI's own buffers; rank 0 has samples and targets on
    their way too, and two pieces of a checkpoint or, at the end, the library that draws the picture. Only evaluating,
    it has the outputs of a batch instead."""
    item, shape = DTYPE.itemsize, model.shapes[-1]
    target_bytes = math.prod(model.loss.target_shape(shape)) * (8 if model.loss.labels else item)
    samples = (SLOTS + 1) * train.micro_batch * math.prod(model.shapes[0]) * item + train.batch * target_bytes
    if train.optimizer == "none":
        more = train.batch * math.prod(shape) * item
    else:
        largest = max(math.prod(piece.shape) for piece in pieces(model, train.optimizer))
        more = max(BUFFERS * largest * item, PICTURE_BYTES)
    return {rank: PROCESS_BYTES + (samples + more if rank == CONDUCTOR else 0) for rank in range(ranks)}


def open_samples(job: Job, stored: Checkpoint | None = None) -> Samples:
    """The job's data set, all finite; the scaling is measured, or the checkpoint's. Raises DataError.

    Tokens are numbers of vectors, so they are never scaled.
    """
    labels, seed = wants_labels(job), job.train.seed
    known = stored.facts.data if stored else DataFacts()
    trained = known.tokens if stored else None
    data = open_data(job.data, labels, seed, classes=known.classes, columns=known.columns, trained=trained)
    where = job.data.path
    if not data.train.count:
        raise DataError(where, "no sample is left to train on", "at least one", "lower data.validation")
    if stored is None:
        scaling = measure(data.train, "none" if data.tokens or embeds(job.model) else job.data.scale, where)
    else:
        check_finite(data.train, where)
        scaling = stored_scaling(stored)
    check_finite(data.validation, held_back(where))
    return Samples(data, scaling, identify(data))


def fit_batch(job: Job, samples: Samples) -> Job:
    """The same job with a batch, and a micro-batch, of no more than the training samples: no larger one ever comes."""
    most = samples.data.train.count
    train = replace(job.train, batch=min(job.train.batch, most), micro_batch=min(job.train.micro_batch, most))
    return replace(job, train=train)


def check_position(position: Position, samples: Samples, where: str) -> None:
    """Raises DataError where the training part ends before the place where training goes on."""
    count = samples.data.train.count
    if position.offset > count:
        needed = f"at least {position.offset}: so many of its epoch are behind the checkpoint"
        raise DataError(where, f"{count} training samples", needed, "give the data that it was trained on")


def changes(start: Start, stored: Checkpoint, samples: Samples) -> list[str]:
    """Notices on what makes the result another than that of an uninterrupted run: settings, and samples."""
    if start.before is None:
        return []
    jobs, count = (start.before, start.job), samples.data.train.count
    before_s, after_s = (one.train.steps or one.train.epochs * steps_per_epoch(count, one.train.batch) for one in jobs)
    known = stored.facts.data.identity
    return [
        *changed_settings(*jobs, stored.facts.position.step, (before_s, after_s)),
        *changed_data(known, samples.identity, *jobs),
    ]


def stored_scaling(checkpoint: Checkpoint) -> Scaling:
    """The scaling that a checkpoint holds."""
    arrays = checkpoint.scaling()
    return Scaling(checkpoint.facts.data.scale, arrays["shift"], arrays["factor"])


def model_of(checkpoint: Checkpoint) -> tuple[Job, Model]:
    """The job and the model that a checkpoint was written with. Raises CheckpointError where they disagree."""
    job = job_from_text(checkpoint.facts.job, f"job of {checkpoint.path}")
    model = build_model(job.model, checkpoint.facts.data.input_shape)
    compare_models(checkpoint.shapes, model, str(checkpoint.path))
    return job, model


def open_folder(request: Request, start: Start) -> RunFolder:
    """The run's folder with room for checkpoints: a new one, or the one that is gone on with. Raises UserError."""
    folder = RunFolder(start.folder) if start.folder else None
    if folder is None or not folder.holds_run:
        folder = new_folder(str(start.folder) if start.folder else request.out, start.job.name)
    make_folder(folder.checkpoints)
    drop_temporary(folder.checkpoints)
    return folder


def wants_labels(job: Job) -> bool:
    """Whether the job's loss wants class labels. Raises JobError for an unknown loss."""
    return find_loss(job.model.loss).labels


def start_position(checkpoint: Checkpoint | None) -> Position:
    """Where training goes on."""
    return checkpoint.facts.position if checkpoint else Position()


def _find_checkpoint(request: Request) -> tuple[Path, list[str]]:
    if request.checkpoint:
        return Path(request.checkpoint), []
    if request.out:
        folder = existing_folder(request.out)
    else:
        name = read_job(request.job or "digits", settings_of(request)).name
        latest = latest_folder(name)
        if latest is None:
            found = f"no run of job '{name}' with a checkpoint"
            raise CheckpointError("results", found, "one to resume", "name its folder by --out, or its checkpoint")
        folder = latest
    return newest_good(folder.checkpoints)


def _home(path: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in; None where it lies in none."""
    for place in (path, path.absolute()):
        folder = RunFolder(place.parent.parent)
        if place.parent.name == folder.checkpoints.name and folder.job.exists():
            return folder.path
    return None


def _left_behind(folder: Path | None, step: int) -> list[str]:
    later = later_checkpoints(RunFolder(folder).checkpoints, step) if folder else []
    if not later:
        return []
    names = ", ".join(path.name for path in later)
    return [f"going on from step {step}, in {folder}: {names} will be removed once a new checkpoint is saved"]
