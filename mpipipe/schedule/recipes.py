"""Every training schedule by name: which stages a rank holds, the limits it is known for, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass

from mpipipe.schedule.actions import Pipeline, Placement, Schedule, round_robin
from mpipipe.schedule.gpipe import gpipe
from mpipipe.schedule.interleaved import interleaved
from mpipipe.schedule.listed import listed
from mpipipe.schedule.one_f_one_b import one_f_one_b
from mpipipe.schedule.zb_h1 import zb_h1
from mpipipe.schedule.zb_v import zb_v, zigzag

Limits = tuple[int, ...]


def falling(stages: int, micros: int, first: int = 0) -> Limits:
    """One less at every stage, from `first`, or from the number of stages."""
    return tuple(max(1, min(micros, (first or stages) - stage)) for stage in range(stages))


def level(stages: int, micros: int, first: int = 0) -> Limits:
    """As many at every stage as at the first: `first`, or the number of stages."""
    return (min(micros, first or stages),) * stages


def free(stages: int, micros: int, first: int = 0) -> Limits:
    """At most `first` at every stage, or no limits, for a schedule that has its own."""
    return (min(micros, first or micros),) * stages


@dataclass(frozen=True)
class Recipe:
    """`place(lanes, stages)` is which stages each lane holds: `chunks` of them if nothing else is asked for, and at
    most `most_chunks`. `limits(stages, micros, first)` are those that the schedule is drawn with."""

    make: Callable[[Pipeline], Schedule]
    limits: Callable[[int, int, int], Limits]
    place: Callable[[int, int], Placement] = round_robin
    chunks: int = 1
    most_chunks: int = 1


SCHEDULES: dict[str, Recipe] = {
    "gpipe": Recipe(gpipe, free),
    "1f1b": Recipe(one_f_one_b, falling),
    "zb-h1": Recipe(zb_h1, level),
    "interleaved": Recipe(interleaved, free, chunks=2, most_chunks=64),
    "zb-v": Recipe(zb_v, free, zigzag, chunks=2, most_chunks=2),
    "list": Recipe(listed, level),
}
