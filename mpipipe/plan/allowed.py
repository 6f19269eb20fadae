"""What a job leaves open to the planner."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpipipe.job import Job
from mpipipe.plan.closed import ALL, LIMITED
from mpipipe.schedule import SCHEDULES


@dataclass(frozen=True)
class Allowed:
    """What the job leaves open: numbers of ranks, schedules by name, the most in flight."""

    counts: tuple[int, ...]
    schedules: tuple[str, ...]
    most: int

    @property
    def single(self) -> tuple[str, ...]:
        """The schedules of one stage a rank."""
        return tuple(name for name in self.schedules if SCHEDULES[name].chunks == 1)

    @property
    def chunked(self) -> tuple[str, ...]:
        """Those of several."""
        return tuple(name for name in self.schedules if SCHEDULES[name].chunks > 1)


def allowed(job: Job, counts: Sequence[int], micros: int) -> Allowed:
    """Of a job with so many micro-batches. gpipe keeps them all in flight, whatever plan.in_flight says."""
    most = min(micros, job.plan.in_flight or micros)
    names = tuple(SCHEDULES) if job.plan.schedule == "auto" else (job.plan.schedule,)
    if job.plan.schedule == "auto" and most < micros:
        names = tuple(name for name in names if name != "gpipe")
    return Allowed(tuple(counts), names, most)


def family(what: Allowed) -> str:
    """The search's family: with all in flight only where nothing else is allowed."""
    return ALL if what.schedules == ("gpipe",) else LIMITED
