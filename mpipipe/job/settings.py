"""What a job says: frozen dataclasses, one for each table of the TOML file.

Every key stands here with its default; jobs/README.md explains each. `check` refuses what no run could use. The layers
stay plain tables: what a layer may say is for the layers room to know.
"""

from dataclasses import dataclass, field
from typing import Any

from mpipipe.errors import JobError, nearest

OPTIMIZERS = ("sgd", "adam", "adamw")
RATE_SCHEDULES = ("constant", "cosine", "step")
SCALES = ("none", "standard", "range")
TOKENS = ("characters", "bytes")
SCHEDULES = ("auto", "gpipe", "1f1b", "zb-h1", "interleaved", "zb-v", "list")
RANKS = ("all", "auto")
RECOMPUTE = ("auto", "always", "never")
KERNELS = ("auto", "SkylakeX", "Haswell", "Sandybridge", "Nehalem")
MOST_THREADS, MOST_SEED, MOST_CONTEXT = 1024, 2**63 - 1, 2**20


@dataclass(frozen=True)
class ModelSettings:
    """`[model]`: the layers in order, each a table with `kind`, and the loss."""

    layers: tuple[dict[str, Any], ...] = ()
    loss: str = "softmax_cross_entropy"


@dataclass(frozen=True)
class DataSettings:
    """`[data]`: where the samples are, which are held back, how features are scaled, how a text is cut."""

    path: str = ""
    target: str = "target"
    validation: float | str = "auto"
    scale: str = "standard"
    tokens: str = "characters"
    context: int = 128


@dataclass(frozen=True)
class TrainSettings:
    """`[train]`: how long, in what portions, with which optimizer and learning rate."""

    epochs: int = 0
    steps: int = 0
    batch: int = 128
    micro_batch: int = 32
    tile_rows: int = 512
    kernel: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 0.001
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    rate_schedule: str = "constant"
    warmup_steps: int = 0
    rate_step: int = 0
    rate_factor: float = 0.1
    rate_floor: float = 0.0
    clip_norm: float = 0.0
    seed: int = 1


@dataclass(frozen=True)
class PlanSettings:
    """`[plan]`: the schedule, how many ranks take part, or the cuts by hand, whether stages recompute."""

    schedule: str = "auto"
    ranks: str | int = "all"
    cuts: tuple[int, ...] = ()
    in_flight: int = 0
    recompute: str = "auto"


@dataclass(frozen=True)
class RunSettings:
    """`[run]`: what changes how a run is done, but no bit of its result."""

    threads: int = 0
    checkpoint_every: int = 0
    checkpoint_minutes: float = 10.0
    keep: int = 3
    validate_every: int = 0
    stop_after: int = 0
    stall_s: float = 60.0
    replan: bool = True


@dataclass(frozen=True)
class Job:
    """A whole job. `name` is the preset's or the file's, and names the run folder."""

    name: str = "job"
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    run: RunSettings = field(default_factory=RunSettings)


def check(job: Job, where: str) -> Job:
    """The same job, or JobError naming the first key whose value no run could use."""
    train, plan, run, data = job.train, job.plan, job.run, job.data
    at = f"{where}: " if where else ""
    _one_of(f"{at}train.optimizer", train.optimizer, OPTIMIZERS)
    _one_of(f"{at}train.rate_schedule", train.rate_schedule, RATE_SCHEDULES)
    _one_of(f"{at}plan.schedule", plan.schedule, SCHEDULES)
    _one_of(f"{at}plan.recompute", plan.recompute, RECOMPUTE)
    _one_of(f"{at}data.scale", data.scale, SCALES)
    _one_of(f"{at}train.kernel", train.kernel, KERNELS)
    _one_of(f"{at}data.tokens", data.tokens, TOKENS)
    _at_least(f"{at}data.context", data.context, 1)
    for key in ("batch", "tile_rows"):
        _at_least(f"{at}train.{key}", getattr(train, key), 1)
    _at_least(f"{at}train.micro_batch", train.micro_batch, 0)
    for key in ("epochs", "steps", "warmup_steps", "rate_step", "seed", "clip_norm", "weight_decay", "rate_floor"):
        _at_least(f"{at}train.{key}", getattr(train, key), 0)
    for key in ("threads", "checkpoint_every", "checkpoint_minutes", "validate_every", "stop_after"):
        _at_least(f"{at}run.{key}", getattr(run, key), 0)
    for key, value, most in (
        ("run.threads", run.threads, MOST_THREADS),
        ("train.seed", train.seed, MOST_SEED),
        ("data.context", data.context, MOST_CONTEXT),
    ):
        if value > most:
            raise JobError(f"{at}{key}", f"{value}", f"at most {most}")
    _at_least(f"{at}run.keep", run.keep, 1)
    _at_least(f"{at}plan.in_flight", plan.in_flight, 0)
    for key in ("learning_rate", "epsilon"):
        _above_zero(f"{at}train.{key}", getattr(train, key))
    _above_zero(f"{at}run.stall_s", run.stall_s)
    for key in ("momentum", "beta1", "beta2"):
        if not 0 <= getattr(train, key) < 1:
            raise JobError(f"{at}train.{key}", f"{getattr(train, key)}", "a number from 0 to below 1")
    _check_length(job, at)
    _check_plan(plan, at)
    if isinstance(data.validation, float) and not 0 <= data.validation < 1:
        raise JobError(f"{at}data.validation", f"{data.validation}", "a fraction from 0 to below 1, or a path")
    return job


def _check_length(job: Job, at: str) -> None:
    train = job.train
    if train.micro_batch > train.batch:
        raise JobError(
            f"{at}train.micro_batch",
            f"{train.micro_batch} is larger than train.batch, which is {train.batch}",
            "a micro-batch of at most the batch",
            f"set train.micro_batch={train.batch} or less",
        )
    if (train.epochs > 0) == (train.steps > 0):
        found = "both are set" if train.epochs else "neither is set"
        raise JobError(f"{at}train.epochs, train.steps", found, "one of the two above 0", "set the other to 0")
    if train.rate_schedule == "step" and not train.rate_step:
        raise JobError(f"{at}train.rate_step", "0", "the number of steps between two drops of the learning rate")
    if not 0 <= train.rate_factor <= 1:
        raise JobError(f"{at}train.rate_factor", f"{train.rate_factor}", "a factor from 0 to 1")


def _check_plan(plan: PlanSettings, at: str) -> None:
    if isinstance(plan.ranks, str):
        _one_of(f"{at}plan.ranks", plan.ranks, RANKS, "or a number of ranks")
    else:
        _at_least(f"{at}plan.ranks", plan.ranks, 1)
    if any(cut < 1 for cut in plan.cuts) or list(plan.cuts) != sorted(set(plan.cuts)):
        raise JobError(f"{at}plan.cuts", f"{list(plan.cuts)}", "ascending layer numbers above 0, each once")


def _one_of(where: str, value: str, known: tuple[str, ...], more: str = "") -> None:
    if value not in known:
        raise JobError(where, f"'{value}'", f"one of {', '.join(known)} {more}".rstrip(), nearest(value, known))


def _at_least(where: str, value: float, least: float) -> None:
    if value < least:
        raise JobError(where, f"{value}", f"{least} or more")


def _above_zero(where: str, value: float) -> None:
    if value <= 0:
        raise JobError(where, f"{value}", "a number above 0")
