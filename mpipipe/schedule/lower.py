"""Lowering: from what ranks compute to everything that they do, messages included.

B becomes I and W. A stage receives what it needs before its F or I and sends what it made after it. One more lane, the
source, loads samples and sends them to the first stage, and targets to the last.
"""

from dataclasses import dataclass

from mpipipe.schedule.actions import Action, Kind, Lane, Schedule


@dataclass(frozen=True)
class Lowered:
    """Lanes of the ranks, of the source, and of the sink (which receives outputs when predicting)."""

    schedule: Schedule
    lanes: tuple[Lane, ...]
    source: Lane
    sink: Lane


def lower(schedule: Schedule, targets: bool = True, outputs: bool = False) -> Lowered:
    """Put in the messages. `targets`: the last stage needs them; `outputs`: it sends its outputs to the sink."""
    lanes = tuple(_lower_lane(schedule, lane, targets, outputs) for lane in range(len(schedule.lanes)))
    source: list[Action] = []
    for micro in range(schedule.micros):
        source += [Action(Kind.LOAD, micro), Action(Kind.SEND_DATA, micro)]
        if targets:
            source.append(Action(Kind.SEND_TARGET, micro))
    sink = tuple(Action(Kind.RECV_OUT, micro) for micro in range(schedule.micros)) if outputs else ()
    return Lowered(schedule, lanes, tuple(source), sink)


def _lower_lane(schedule: Schedule, lane: int, targets: bool, outputs: bool) -> Lane:
    lowered: list[Action] = []
    for action in schedule.lanes[lane]:
        stage = schedule.placement[lane][action.chunk]
        first, last = stage == 0, stage == schedule.stages - 1
        kinds: list[Kind] = []
        if action.kind == Kind.F:
            kinds += [Kind.RECV_ACT, *([Kind.RECV_TARGET] if last and targets else []), Kind.F]
            kinds += [Kind.SEND_ACT] if not last else [Kind.SEND_OUT] if outputs else []
        if action.kind in (Kind.B, Kind.I):
            kinds += [*([] if last else [Kind.RECV_GRAD]), Kind.I, *([] if first else [Kind.SEND_GRAD])]
        if action.kind in (Kind.B, Kind.W):
            kinds.append(Kind.W)
        lowered += [Action(kind, action.micro, action.chunk) for kind in kinds]
    return tuple(lowered)
