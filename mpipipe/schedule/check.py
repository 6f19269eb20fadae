"""Proof that a schedule can run: complete, in order, within its limits, and live even where every send waits for its
receive (a rendezvous). What fails is shown in the grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from mpipipe.errors import ScheduleError
from mpipipe.schedule.actions import Action, Kind, Lane, Schedule
from mpipipe.schedule.graph import Room, whole_graph
from mpipipe.schedule.lower import lower
from mpipipe.schedule.peaks import peaks, stage_peaks
from mpipipe.schedule.simulate import simulate
from mpipipe.schedule.wiring import wire

CALLED_FOR = {
    Kind.RECV_ACT: Kind.F,
    Kind.RECV_TARGET: Kind.F,
    Kind.SEND_ACT: Kind.F,
    Kind.SEND_OUT: Kind.F,
    Kind.RECV_GRAD: Kind.I,
    Kind.SEND_GRAD: Kind.I,
}
"""The action of the schedule for which a message is there."""


def check(schedule: Schedule, targets: bool = True, outputs: bool = False) -> None:
    """Raises ScheduleError naming stage, action and fault, with the whole schedule below it and the place marked."""
    for number, (lane, held) in enumerate(zip(schedule.lanes, schedule.placement, strict=True)):
        for chunk, stage in enumerate(held):
            mine = tuple(action for action in _split(lane) if action.chunk == chunk)
            fault = _find_fault(mine, schedule.micros, schedule.in_flight[stage])
            if fault:
                _refuse(schedule, f", stage {stage}: {fault.text}", {number: fault.action})
        stranger = next((action for action in lane if action.chunk >= len(held)), None)
        if stranger is not None:
            found = f": {stranger} is of no chunk; needed: numbers below {len(held)}"
            _refuse(schedule, found, {number: stranger})
    _check_live(schedule, targets, outputs)


def rooms_of(schedule: Schedule) -> list[Room]:
    """The room that each stage needs to keep the schedule's order, with one task in each W.

    A stage takes gradients as it computes with them. But a rank with chunks does a group of one chunk after another:
    gradients of the next group come early, and wait in slots of their own, or the rank before would have to.
    """
    if any(len(held) > 1 for held in schedule.placement):
        return [Room(limit, limit) for limit in schedule.in_flight]
    found = stage_peaks(schedule.lanes, schedule.placement)
    return [Room(limit, max(1, held)) for limit, (_, held) in zip(schedule.in_flight, found, strict=True)]


@dataclass(frozen=True)
class _Fault:
    text: str
    action: Action | None = None


def _refuse(schedule: Schedule, text: str, marks: Mapping[int, Action | None]) -> NoReturn:
    """`marks` is, of a lane, the action at fault: shown as >>F0<< in the grid."""
    lines = []
    for number, lane in enumerate(schedule.lanes):
        words, mark = [str(action) for action in lane], marks.get(number)
        found = [i for i, action in enumerate(lane) if mark in (action, *_split((action,)))]
        for i in found[-1:]:
            words[i] = f">>{words[i]}<<"
        lines.append(" ".join(words))
    raise ScheduleError("\n".join([f"schedule {schedule.name}{text}", *lines]))


def _split(lane: Lane) -> Lane:
    split: list[Action] = []
    for action in lane:
        if action.kind == Kind.B:
            split += [Action(Kind.I, action.micro, action.chunk), Action(Kind.W, action.micro, action.chunk)]
        else:
            split.append(action)
    return tuple(split)


def _find_fault(lane: Lane, micros: int, limit: int) -> _Fault | None:
    """The first one in what a stage does. Without its chunk, its actions are named as of chunk 0."""
    place = {(action.kind, action.micro): index for index, action in enumerate(lane)}
    kinds = (Kind.F, Kind.I, Kind.W) if any(kind in (Kind.I, Kind.W) for kind, _ in place) else (Kind.F,)
    if len(place) != len(lane):
        twice = next(action for i, action in enumerate(lane) if place[action.kind, action.micro] != i)
        return _Fault(f"{twice} stands twice; needed: every action once", twice)
    for kind in kinds:
        found = [action for action in lane if action.kind == kind]
        micro_of = [action.micro for action in found]
        missing = sorted(set(range(micros)) - set(micro_of))
        if missing:
            return _Fault(f"{kind}{missing[0]} is missing; needed: {kind} of micro-batches 0 to {micros - 1}")
        if len(found) > micros:
            most = max(found, key=lambda action: action.micro)
            return _Fault(f"{kind}{most.micro} is of no micro-batch; needed: numbers below {micros}", most)
        if micro_of != sorted(micro_of):
            early = next(b for a, b in pairwise(found) if b.micro < a.micro)
            return _Fault(f"{kind} actions stand as {micro_of}; needed: ascending, so that sums are too", early)
    if len(lane) != len(kinds) * micros:
        stranger = next(action for action in lane if action.kind not in kinds)
        return _Fault(f"{stranger} is not for a schedule to say; needed: F, I, W and B only", stranger)
    return _find_disorder(lane, place, micros, limit) if len(kinds) > 1 else None


def _find_disorder(lane: Lane, place: Mapping[tuple[Kind, int], int], micros: int, limit: int) -> _Fault | None:
    for micro in range(micros):
        f, i, w = (place[kind, micro] for kind in (Kind.F, Kind.I, Kind.W))
        if not f < i < w:
            early = lane[i] if i < f else lane[w]
            return _Fault(f"micro-batch {micro} is out of order; needed: F, then I, then W", early)
    activations, _ = peaks(lane, lane[0].chunk)
    if activations <= limit:
        return None
    # All kinds ascend: the first above the limit is the one whose W of `limit` before comes later.
    above = next(m for m in range(limit, micros) if place[Kind.F, m] < place[Kind.W, m - limit])
    return _Fault(f"{activations} micro-batches are in flight; needed: at most {limit}", lane[place[Kind.F, above]])


def _check_live(schedule: Schedule, targets: bool, outputs: bool) -> None:
    lanes = len(schedule.lanes)
    whole = whole_graph(lower(schedule, targets, outputs), rooms_of(schedule), 1)
    result = simulate(wire(whole), [{}] * schedule.stages, [1] * lanes, strict=True)
    if not result.stuck:
        return
    first: dict[int, Action] = {}
    for lane, i in result.stuck:
        if lane < lanes:
            first.setdefault(lane, whole.graphs[lane][i].action)
    names = ", ".join(f"rank {lane} at {first[lane]}" for lane in sorted(first))
    marks = {lane: Action(CALLED_FOR.get(a.kind, a.kind), a.micro, a.chunk) for lane, a in first.items()}
    _refuse(schedule, f" never ends, each waits for another: {names}", marks)
