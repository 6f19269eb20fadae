"""What a command works with: the request, the job with its settings, samples, and what a checkpoint holds of them."""

import json
import math
import time
from dataclasses import dataclass, replace

import numpy as np

from mpipipe.checkpoint import (
    Checkpoint,
    DataFacts,
    compare_models,
    pieces,
)
from mpipipe.data import (
    UNSCALED,
    DataSet,
    Identity,
    Part,
    Scaling,
    check_finite,
    held_back,
    measure,
    measure_targets,
    open_data,
)
from mpipipe.errors import DataError
from mpipipe.fit import embeds
from mpipipe.job import Job, TrainSettings, job_from_text
from mpipipe.layers import Array, Model, build_model, find_loss
from mpipipe.runtime.collect import BUFFERS
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.source import Feed
from mpipipe.schedule import SLOTS

TIMED_ROWS = 32
"""Samples that are loaded to see how long it takes: as many as an ordinary micro-batch has."""
CONDUCTOR_BYTES = 5 << 20
"""What rank 0 takes besides the others: HDF5, reports, the objects of the data. 5.0 to 6.2 MiB on the presets; less, of
which this makes too much, on a small table."""
PROCESS_BYTES = 3 << 18
"""What a rank takes besides its arrays, as measured: stacks of threads, MPI's buffers, Python's objects of a run."""


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
    """An open data set, with the scaling of its features and of its targets: what rank 0 feeds the pipeline from."""

    data: DataSet
    scaling: Scaling
    identity: Identity = Identity()
    targets: Scaling = UNSCALED

    def feed(self, part: Part) -> Feed:
        """Fills scaled features, and targets where wanted, of rows of a part."""

        def fill(rows: Array, x: Array, t: Array | None) -> None:
            self.scaling.fill(part.fill, rows, x)
            if t is not None:
                self.targets.fill(part.fill_targets, rows, t)

        return fill

    @property
    def kept(self) -> dict[str, Array]:
        """The scaling as a checkpoint keeps it."""
        kept = {"shift": self.scaling.shift, "factor": self.scaling.factor}
        if self.targets.kind != "none":
            kept |= {"target_shift": self.targets.shift, "target_factor": self.targets.factor}
        return kept

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


def settings_of(request: Request) -> tuple[str, ...]:
    """`--set` and the options that stand for job keys, in one list."""
    # A JSON string is a TOML string; Python's own quotes would leave a backslash to be read as one.
    extra = [] if request.data is None else [f"data.path={json.dumps(request.data, ensure_ascii=False)}"]
    extra += [] if request.threads is None else [f"run.threads={request.threads}"]
    return (*request.sets, *extra)


def bytes_besides_stages(model: Model, train: TrainSettings, ranks: int) -> dict[int, int]:
    """By rank, what it takes besides its stages: its threads and MPI's own buffers; rank 0 has samples and targets on
    their way too, and two pieces of a checkpoint. Only evaluating, it has the outputs of a batch instead. (The picture
    at the end is dispensable.)"""
    item, shape = DTYPE.itemsize, model.shapes[-1]
    target_bytes = math.prod(model.loss.target_shape(shape)) * (8 if model.loss.labels else item)
    samples = (SLOTS + 1) * train.micro_batch * math.prod(model.shapes[0]) * item + train.batch * target_bytes
    if train.optimizer == "none":
        more = train.batch * math.prod(shape) * item
    else:
        largest = max(math.prod(piece.shape) for piece in pieces(model, train.optimizer))
        more = BUFFERS * largest * item
    conducting = CONDUCTOR_BYTES + samples + more
    return {rank: PROCESS_BYTES + (conducting if rank == CONDUCTOR else 0) for rank in range(ranks)}


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
    if stored is not None:
        targets = stored_target_scaling(stored)
    else:
        scaled = not labels and job.data.scale != "none"
        targets = measure_targets(data.train, data.target_shape) if scaled else UNSCALED
    return Samples(data, scaling, targets=targets)


def fit_batch(job: Job, samples: Samples) -> Job:
    """The same job with a batch, and a micro-batch, of no more than the training samples: no larger one ever comes."""
    most = samples.data.train.count
    train = replace(job.train, batch=min(job.train.batch, most), micro_batch=min(job.train.micro_batch, most))
    return replace(job, train=train)


def stored_scaling(checkpoint: Checkpoint) -> Scaling:
    """The scaling of features that a checkpoint holds."""
    arrays = checkpoint.scaling()
    return Scaling(checkpoint.facts.data.scale, arrays["shift"], arrays["factor"])


def stored_target_scaling(checkpoint: Checkpoint) -> Scaling:
    """The scaling of targets that a checkpoint holds; labels have none, nor have values that are learnt as they are."""
    arrays = checkpoint.scaling()
    if "target_shift" not in arrays:
        return UNSCALED
    return Scaling("standard", arrays["target_shift"], arrays["target_factor"])


def model_of(checkpoint: Checkpoint) -> tuple[Job, Model]:
    """The job and the model that a checkpoint was written with. Raises CheckpointError where they disagree."""
    job = job_from_text(checkpoint.facts.job, f"job of {checkpoint.path}")
    model = build_model(job.model, checkpoint.facts.data.input_shape)
    compare_models(checkpoint.shapes, model, str(checkpoint.path))
    return job, model


def wants_labels(job: Job) -> bool:
    """Whether the job's loss wants class labels. Raises JobError for an unknown loss."""
    return find_loss(job.model.loss).labels
