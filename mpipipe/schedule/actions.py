"""A schedule as data: for every rank, which action on which micro-batch, in order. Knows only ints and letters.

A rank has one lane. It holds one stage, or several: its chunks, numbered from 0 in pipeline order. It prints and
parses: `F0 F1 B0 F2 B1 B2` is the lane of a rank with one chunk; `F0.1` is the forward of micro-batch 0 by chunk 1. B
stands for I then W of the same micro-batch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mpipipe.errors import ScheduleError


class Kind(StrEnum):
    """What an action does. The first four are written by schedules; the rest are put in by `lower`."""

    F = "F"
    I = "I"  # noqa: E741
    W = "W"
    B = "B"
    LOAD = "LOAD"
    SEND_DATA = "SEND_DATA"
    SEND_TARGET = "SEND_TARGET"
    RECV_TARGET = "RECV_TARGET"
    RECV_ACT = "RECV_ACT"
    SEND_ACT = "SEND_ACT"
    RECV_GRAD = "RECV_GRAD"
    SEND_GRAD = "SEND_GRAD"
    SEND_OUT = "SEND_OUT"
    RECV_OUT = "RECV_OUT"

    __hash__ = str.__hash__  # an Enum's own is Python code, and actions are looked up by the hundred thousand


COMPUTE = frozenset((Kind.F, Kind.I, Kind.W, Kind.LOAD))
"""Actions that worker threads do; all others are messages."""


class Action(NamedTuple):
    """One action on one micro-batch, by one of the lane's chunks."""

    kind: Kind
    micro: int
    chunk: int = 0

    def __str__(self) -> str:
        return f"{self.kind}{self.micro}{f'.{self.chunk}' if self.chunk else ''}"


Lane = tuple[Action, ...]
"""The actions of one rank, in order."""
Placement = tuple[tuple[int, ...], ...]
"""For every lane, the stage that each of its chunks is."""


@dataclass(frozen=True)
class Schedule:
    """One batch: a lane for each rank. `in_flight[s]` bounds the micro-batches that stage s has begun, not ended."""

    name: str
    micros: int
    in_flight: tuple[int, ...]
    lanes: tuple[Lane, ...]
    placement: Placement

    def __str__(self) -> str:
        return "\n".join(" ".join(map(str, lane)) for lane in self.lanes)

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.in_flight)


@dataclass(frozen=True)
class StageCost:
    """Seconds that one worker thread takes for F, I and W of a full micro-batch."""

    forward_s: float = 1.0
    input_s: float = 1.0
    weight_s: float = 1.0


@dataclass(frozen=True)
class Pipeline:
    """What a schedule is made for. `limits` are the most micro-batches in flight, `costs` those of each stage;
    `message_s[s]` is what a message between stages s and s + 1 takes, `threads` the workers of each lane. `gradients`
    bounds how many I are ahead of their W, for schedules that choose that as they go; without it, limits do."""

    micros: int
    placement: Placement
    limits: tuple[int, ...]
    costs: tuple[StageCost, ...]
    message_s: tuple[float, ...]
    threads: tuple[int, ...]
    gradients: tuple[int, ...] = ()

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.limits)


def round_robin(lanes: int, stages: int) -> Placement:
    """Stages are dealt out to the lanes in turn."""
    return tuple(tuple(range(lane, stages, lanes)) for lane in range(min(lanes, stages)))


def straight(stages: int) -> Placement:
    """One stage a lane."""
    return round_robin(stages, stages)


def unit_pipeline(placement: Placement, micros: int, limits: Sequence[int] = ()) -> Pipeline:
    """F, I and W of one unit each, messages free, one thread a lane; no limits where none are given."""
    stages = sum(map(len, placement))
    bounds = tuple(limits) or (micros,) * stages
    return Pipeline(micros, placement, bounds, (StageCost(),) * stages, (0.0,) * (stages - 1), (1,) * len(placement))


def lane_of(placement: Placement) -> tuple[tuple[int, int], ...]:
    """For every stage, its lane and its chunk there."""
    places = {stage: (lane, chunk) for lane, held in enumerate(placement) for chunk, stage in enumerate(held)}
    return tuple(places[stage] for stage in range(len(places)))


def parse_lane(text: str) -> Lane:
    """The lane that a line such as `F0 F1 B0` stands for. Raises ScheduleError."""
    actions = []
    for word in text.split():
        match = re.fullmatch(r"([A-Z_]+)(\d+)(?:\.(\d+))?", word)
        if not match or match[1] not in Kind.__members__:
            raise ScheduleError(f"'{word}' is no action; needed: one such as F0, I3, W3, B3, or F0.1 of chunk 1")
        actions.append(Action(Kind(match[1]), int(match[2]), int(match[3] or 0)))
    return tuple(actions)


def alternate(micros: int, in_flight: int) -> Lane:
    """Forwards until `in_flight` have begun, then a backward and a forward in turn, then the backwards left."""
    first = min(in_flight, micros)
    lane = [Action(Kind.F, micro) for micro in range(first)]
    for micro in range(micros):
        lane.append(Action(Kind.B, micro))
        if micro + first < micros:
            lane.append(Action(Kind.F, micro + first))
    return tuple(lane)
