"""A schedule as data: for every stage, which action on which micro-batch, in order. Knows only ints and letters.

It prints and parses: `F0 F1 B0 F2 B1 B2` is one stage's line. B stands for I then W of the same micro-batch.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

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


COMPUTE = frozenset((Kind.F, Kind.I, Kind.W, Kind.LOAD))
"""Actions that worker threads do; all others are messages."""


@dataclass(frozen=True)
class Action:
    """One action on one micro-batch."""

    kind: Kind
    micro: int

    def __str__(self) -> str:
        return f"{self.kind}{self.micro}"


Lane = tuple[Action, ...]
"""The actions of one stage, in order."""


@dataclass(frozen=True)
class Schedule:
    """One batch: a lane for each stage. `in_flight[s]` bounds the micro-batches that stage s has begun, not ended."""

    name: str
    micros: int
    in_flight: tuple[int, ...]
    lanes: tuple[Lane, ...]

    def __str__(self) -> str:
        return "\n".join(" ".join(map(str, lane)) for lane in self.lanes)


def parse_lane(text: str) -> Lane:
    """The lane that a line such as `F0 F1 B0` stands for. Raises ScheduleError."""
    actions = []
    for word in text.split():
        match = re.fullmatch(r"([A-Z_]+)(\d+)", word)
        if not match or match[1] not in Kind.__members__:
            raise ScheduleError(f"'{word}' is no action; needed: one such as F0, I3, W3, B3")
        actions.append(Action(Kind(match[1]), int(match[2])))
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
