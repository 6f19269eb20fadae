"""What of a job has changed since a checkpoint was written, as far as it changes the result of going on."""

from dataclasses import fields

from mpipipe.data import Identity, other_data
from mpipipe.errors import JobError
from mpipipe.job import Job, TrainSettings
from mpipipe.layers import learning_rate

RATE_KEYS = (
    "epochs", "steps", "learning_rate", "rate_schedule", "warmup_steps", "rate_step", "rate_factor", "rate_floor",
)  # fmt: skip
"""Settings that act by the learning rates of the steps to come: these are compared instead."""
ADAMS = ("adam", "adamw")
OF_OPTIMIZER = {"momentum": ("sgd",), "beta1": ADAMS, "beta2": ADAMS, "epsilon": ADAMS}
"""Settings that only these optimizers look at."""


def check_optimizer(before: Job, after: Job) -> None:
    """Raises JobError where the optimizer is another, for its state is not there."""
    if before.train.optimizer != after.train.optimizer:
        found = f"'{after.train.optimizer}', but the checkpoint has the state of '{before.train.optimizer}'"
        raise JobError("train.optimizer", found, "the same optimizer")


def changed_settings(before: Job, after: Job, step: int, totals: tuple[int, int]) -> list[str]:
    """Notices on settings that make the result another than that of an uninterrupted run.

    `step` is the next one, `totals` are the steps of the whole job by either. The tables [plan] and [run] change no bit
    of a result, and data are compared by what they hold (`changed_data`), not by where they are.
    """
    names = ["model"] if before.model != after.model else []
    old, new = before.train, after.train
    changed = [one.name for one in fields(TrainSettings) if getattr(old, one.name) != getattr(new, one.name)]
    steps = range(step, min(totals))
    if _rates(old, steps, totals[0]) == _rates(new, steps, totals[1]):
        changed = [key for key in changed if key not in RATE_KEYS]
    names += [f"train.{key}" for key in changed if new.optimizer in OF_OPTIMIZER.get(key, (new.optimizer,))]
    notices = []
    if names:
        what = ", ".join(names)
        notices.append(f"{what} changed since the checkpoint: the result will differ from that of an uninterrupted run")
    if before.data.scale != after.data.scale:
        notices.append(
            f"data.scale = {after.data.scale} has no effect: features stay scaled as the model knows them, by "
            f"{before.data.scale}"
        )
    return notices


def changed_data(known: Identity, found: Identity, before: Job, after: Job) -> list[str]:
    """A notice where the samples are others; by the job's words where the checkpoint does not know its samples."""
    if known.digest:
        return other_data(known, found, after.data.path)
    same = ("path", "target", "validation", "tokens", "context")
    changed = [f"data.{key}" for key in same if getattr(before.data, key) != getattr(after.data, key)]
    if not changed:
        return []
    return [f"{', '.join(changed)} changed since the checkpoint: other samples may be held back"]


def _rates(settings: TrainSettings, steps: range, total: int) -> list[float]:
    return [learning_rate(settings, step, total) for step in steps]
