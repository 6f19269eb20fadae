"""What can go wrong, said so that the reader can act on it.

A message reads: where; what was found; what was needed; what to do. The command line turns these classes into exit
statuses: 2 for what a user can mend, 1 for a fault of the run itself.
"""

import difflib
from collections.abc import Iterable


class MpipipeError(Exception):
    """Ends the program with one line on standard error and `status`."""

    status = 1


class UserError(MpipipeError):
    """Something that the user gave or that the user's machines lack; exit status 2."""

    status = 2

    def __init__(self, where: str, found: str, needed: str = "", remedy: str = "") -> None:
        self.where, self.found, self.needed, self.remedy = where, found, needed, remedy
        parts = [f"{where}: {found}"]
        if needed:
            parts.append(f"needed: {needed}")
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(parts))


class JobError(UserError):
    """A job file, a preset name or a `--set` that cannot be used."""


class ShapeError(UserError):
    """A layer was given a shape that it cannot take."""


class DataError(UserError):
    """A data set that cannot be read or does not fit the model."""


class PlanError(UserError):
    """No plan fits the hosts."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, unreadable, unwritable, or of another model."""


class ScheduleError(MpipipeError):
    """A schedule that is incomplete, out of order, over its limits, or would deadlock."""


class NonFiniteError(MpipipeError):
    """The loss or a gradient is no longer a finite number."""


class StallError(MpipipeError):
    """Nothing arrived for longer than the job allows."""


class InterruptedRunError(MpipipeError):
    """The user ended the run by a signal."""

    status = 130


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """A hint such as `did you mean 'epochs'?`, or the list of what is known where nothing is as like as `cutoff`."""
    names = sorted(known)
    match = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return f"did you mean '{match[0]}'?" if match else f"known are {', '.join(names)}"
