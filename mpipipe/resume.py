"""Where a run starts: anew from a job, or from a checkpoint; and its folder, which no other process may use then."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.changes import changed_data, changed_settings, check_optimizer
from mpipipe.checkpoint import Checkpoint, Position, later_checkpoints, newest_good, open_checkpoint
from mpipipe.data import steps_per_epoch
from mpipipe.errors import CheckpointError, DataError
from mpipipe.job import Job, job_from_text, read_job
from mpipipe.report import RunFolder, drop_unused, existing_folder, latest_folder, locked, new_folder
from mpipipe.start import Request, Samples, settings_of


@dataclass(frozen=True)
class Start:
    """Job, the run's folder, and where to go on from: `checkpoint` is None for a new run. `notices` are for the reader;
    `before` is the job that the checkpoint was written with."""

    job: Job
    checkpoint: Path | None
    folder: RunFolder
    notices: tuple[str, ...] = ()
    before: Job | None = None


def find_start(request: Request, stack: ExitStack) -> Start:
    """The effective job, the folder, which is this process's alone until the stack is closed, and, with `--resume`, the
    checkpoint to go on from. Raises UserError, and leaves no new folder then."""
    if not request.resume:
        job = read_job(request.job or "digits", settings_of(request))
        return Start(job, None, _hold(new_folder(request.out, job.name), stack))
    source = _source(request)
    home = Path(request.out) if request.out else source if source.is_dir() else _home(source)
    # Held before the newest checkpoint is looked for: another process may still be saving there.
    folder = _hold(_run_folder(home), stack) if home else None
    path, notices = newest_good(RunFolder(source).checkpoints) if source.is_dir() else (source, [])
    with open_checkpoint(path) as checkpoint:
        text, where, step = checkpoint.facts.job, f"job of {path}", checkpoint.facts.position.step
    if request.job:
        job = read_job(request.job, settings_of(request))
    else:
        # Where the earlier run was told to stop, and its hosts' threads, are no part of what is resumed.
        job = job_from_text(text, where, ("run.stop_after=0", "run.threads=0", *settings_of(request)))
    before = job_from_text(text, where)
    job = _with_kept(job, before)
    check_optimizer(before, job)
    folder = folder or _hold(new_folder(None, job.name), stack)
    return Start(job, path, folder, (*notices, *_left_behind(folder, step)), before)


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


def start_position(checkpoint: Checkpoint | None) -> Position:
    """Where training goes on."""
    return checkpoint.facts.position if checkpoint else Position()


def _hold(folder: RunFolder, stack: ExitStack) -> RunFolder:
    """The folder, locked until the stack is closed; one that was made for it is removed then if nothing is in it."""
    stack.callback(drop_unused, folder)
    stack.enter_context(locked(folder.path))
    return folder


def _run_folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    return folder if folder.holds_run else new_folder(str(path), "")


def _source(request: Request) -> Path:
    """The checkpoint, or the folder of the run whose newest one is to be resumed."""
    if request.checkpoint:
        path = Path(request.checkpoint)
        return existing_folder(path).path if path.is_dir() else path
    if request.out:
        return existing_folder(request.out).path
    name = read_job(request.job or "digits", settings_of(request)).name
    latest = latest_folder(name)
    if latest is None:
        found = f"no run of job '{name}' with a checkpoint"
        raise CheckpointError("results", found, "one to resume", "name its folder by --out, or its checkpoint")
    return latest.path


def _home(path: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in; None where it lies in none."""
    for place in (path, path.absolute()):
        folder = RunFolder(place.parent.parent)
        if place.parent.name == folder.checkpoints.name and folder.job.exists():
            return folder.path
    return None


def _left_behind(folder: RunFolder, step: int) -> list[str]:
    later = later_checkpoints(folder.checkpoints, step)
    if not later:
        return []
    names = ", ".join(path.name for path in later)
    return [f"going on from step {step}, in {folder.path}: {names} will be removed once a new checkpoint is saved"]
