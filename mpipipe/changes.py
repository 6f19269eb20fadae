"""What of a job has changed since a checkpoint was written, as far as it changes the result of going on.

Every setting counts unless it is named here, with the reason, so that a new one is not forgotten.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from mpipipe.data import Identity, other_data
from mpipipe.errors import JobError
from mpipipe.job import DataSettings, Job, TrainSettings

UNSEEN = {
    "name": "names the folder of results",
    "data": "is compared by the samples themselves, in changed_data",
    "plan": "decides who computes what, which changes no bit",
    "run": "decides how a run is done, which changes no bit",
}
"""Tables of a job that do not count here, and why."""


def _uses_moments(train: TrainSettings) -> bool:
    return train.optimizer in ("adam", "adamw")


def _is_cosine(train: TrainSettings) -> bool:
    return train.rate_schedule == "cosine"


def _is_step(train: TrainSettings) -> bool:
    return train.rate_schedule == "step"


COUNTS_WHERE: dict[str, Callable[[TrainSettings], bool]] = {
    "epochs": _is_cosine,
    "steps": _is_cosine,
    "momentum": lambda train: train.optimizer == "sgd",
    "beta1": _uses_moments,
    "beta2": _uses_moments,
    "epsilon": _uses_moments,
    "rate_step": _is_step,
    "rate_factor": _is_step,
    "rate_floor": lambda train: train.rate_schedule != "constant",
}
"""Settings of [train] that only some other settings look at. The length of the job is one of them: by itself it adds
steps, and leaves those alone that an uninterrupted run would have done."""


def check_optimizer(before: Job, after: Job) -> None:
    """Raises JobError where the optimizer is another, for its state is not there."""
    if before.train.optimizer != after.train.optimizer:
        found = f"'{after.train.optimizer}', but the checkpoint has the state of '{before.train.optimizer}'"
        raise JobError("train.optimizer", found, "the same optimizer")


def changed_settings(before: Job, after: Job, step: int, totals: tuple[int, int]) -> list[str]:
    """Notices on settings that make the result another than that of an uninterrupted run.

    `step` is the next one (from 0), `totals` are the steps of the whole job by either.
    """
    tables = [table.name for table in fields(Job) if table.name not in UNSEEN and table.name != "train"]
    names = [name for name in tables if getattr(before, name) != getattr(after, name)]
    names += [f"train.{name}" for name in _changed_training(before.train, after.train, step, totals)]
    notices = []
    if names:
        what = ", ".join(names)
        notices.append(f"{what} changed since the checkpoint: the result will differ from that of an uninterrupted run")
    if before.data.scale != after.data.scale:
        notices.append(
            f"data.scale = {after.data.scale} has no effect: the model knows its features as they were scaled when it "
            f"began to train, with data.scale = {before.data.scale}"
        )
    return notices


def changed_data(known: Identity, found: Identity, before: Job, after: Job) -> list[str]:
    """A notice where the samples are others; by the job's words where the checkpoint does not know its samples."""
    if known.samples:
        return other_data(known, found, after.data.path)
    names = [one.name for one in fields(DataSettings) if one.name != "scale"]
    changed = [f"data.{name}" for name in names if _place(before.data, name) != _place(after.data, name)]
    if not changed:
        return []
    return [f"{', '.join(changed)} changed since the checkpoint: other samples may be held back"]


def _place(data: DataSettings, name: str) -> object:
    """The value of a setting; of a path, the place that it means."""
    value = getattr(data, name)
    return Path(value).expanduser().absolute() if name == "path" else value


def _changed_training(old: TrainSettings, new: TrainSettings, step: int, totals: tuple[int, int]) -> list[str]:
    names = [one.name for one in fields(TrainSettings) if getattr(old, one.name) != getattr(new, one.name)]
    names = [name for name in names if name not in COUNTS_WHERE or COUNTS_WHERE[name](new)]
    if totals[0] == totals[1]:
        names = [name for name in names if name not in ("epochs", "steps")]
    # Warm-up that is over leaves a constant rate alone; the other schedules count from its end.
    warmup_is_over = step >= max(old.warmup_steps, new.warmup_steps)
    if warmup_is_over and old.rate_schedule == new.rate_schedule == "constant":
        names = [name for name in names if name != "warmup_steps"]
    return names
