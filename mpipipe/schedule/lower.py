"""Lowering: from what stages compute to everything that ranks do, messages included.

B becomes I and W. A stage receives what it needs before its F or I and sends what it made after it. One more lane, the
source, loads samples and sends them to the first stage, and targets to the last.
"""

from dataclasses import dataclass

from mpipipe.schedule.actions import Action, Kind, Lane, Schedule


@dataclass(frozen=True)
class Lowered:
    """Lanes of the stages, of the source, and of the sink (which receives outputs when predicting)."""

    schedule: Schedule
    lanes: tuple[Lane, ...]
    source: Lane
    sink: Lane


def lower(schedule: Schedule, targets: bool = True, outputs: bool = False) -> Lowered:
    """Put in the messages. `targets`: the last stage needs them; `outputs`: it sends its outputs to the sink."""
    last = len(schedule.lanes) - 1
    lanes = tuple(_lower_lane(lane, s == 0, s == last, targets, outputs) for s, lane in enumerate(schedule.lanes))
    source: list[Action] = []
    for micro in range(schedule.micros):
        source += [Action(Kind.LOAD, micro), Action(Kind.SEND_DATA, micro)]
        if targets:
            source.append(Action(Kind.SEND_TARGET, micro))
    sink = tuple(Action(Kind.RECV_OUT, micro) for micro in range(schedule.micros)) if outputs else ()
    return Lowered(schedule, lanes, tuple(source), sink)


def _lower_lane(lane: Lane, first: bool, last: bool, targets: bool, outputs: bool) -> Lane:
    lowered: list[Action] = []

    def add(kind: Kind, micro: int) -> None:
        lowered.append(Action(kind, micro))

    for action in lane:
        micro = action.micro
        if action.kind == Kind.F:
            add(Kind.RECV_ACT, micro)
            if last and targets:
                add(Kind.RECV_TARGET, micro)
            add(Kind.F, micro)
            if not last:
                add(Kind.SEND_ACT, micro)
            elif outputs:
                add(Kind.SEND_OUT, micro)
        if action.kind in (Kind.B, Kind.I):
            if not last:
                add(Kind.RECV_GRAD, micro)
            add(Kind.I, micro)
            if not first:
                add(Kind.SEND_GRAD, micro)
        if action.kind in (Kind.B, Kind.W):
            add(Kind.W, micro)
    return tuple(lowered)
