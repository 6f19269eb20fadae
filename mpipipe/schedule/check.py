"""Proof that a schedule can run: complete, in order, within its limits, and live even where every send waits for its
receive (a rendezvous). What fails is shown in the grid."""

from mpipipe.errors import ScheduleError
from mpipipe.schedule.actions import Action, Kind, Lane, Schedule
from mpipipe.schedule.graph import Room, whole_graph
from mpipipe.schedule.lower import lower
from mpipipe.schedule.peaks import peaks, stage_peaks
from mpipipe.schedule.simulate import simulate, wire


def check(schedule: Schedule, targets: bool = True, outputs: bool = False) -> None:
    """Raises ScheduleError naming stage, action and fault, with the whole schedule below it."""
    for lane, held in zip(schedule.lanes, schedule.placement, strict=True):
        for chunk, stage in enumerate(held):
            mine = tuple(action for action in _split(lane) if action.chunk == chunk)
            try:
                _check_stage(mine, schedule.micros, schedule.in_flight[stage])
            except ScheduleError as error:
                raise ScheduleError(f"schedule {schedule.name}, stage {stage}: {error}\n{schedule}") from error
        stranger = next((action for action in lane if action.chunk >= len(held)), None)
        if stranger is not None:
            found = f"schedule {schedule.name}: {stranger} is of no chunk; needed: numbers below {len(held)}"
            raise ScheduleError(f"{found}\n{schedule}")
    _check_live(schedule, targets, outputs)


def rooms_of(schedule: Schedule) -> list[Room]:
    """The least room that each stage needs to keep the schedule's order, with one task in each W."""
    found = stage_peaks(schedule.lanes, schedule.placement)
    return [Room(limit, max(1, held)) for limit, (_, held) in zip(schedule.in_flight, found, strict=True)]


def _split(lane: Lane) -> Lane:
    split: list[Action] = []
    for action in lane:
        kinds = (Kind.I, Kind.W) if action.kind == Kind.B else (action.kind,)
        split += [Action(kind, action.micro, action.chunk) for kind in kinds]
    return tuple(split)


def _check_stage(lane: Lane, micros: int, limit: int) -> None:
    trains = any(action.kind in (Kind.I, Kind.W) for action in lane)
    place = {(action.kind, action.micro): index for index, action in enumerate(lane)}
    if len(place) != len(lane):
        twice = next(action for action in lane if lane.count(action) > 1)
        raise ScheduleError(f"{twice} stands twice; needed: every action once")
    kinds = (Kind.F, Kind.I, Kind.W) if trains else (Kind.F,)
    for kind in kinds:
        found = [action.micro for action in lane if action.kind == kind]
        missing = sorted(set(range(micros)) - set(found))
        if missing:
            raise ScheduleError(f"{kind}{missing[0]} is missing; needed: {kind} of micro-batches 0 to {micros - 1}")
        if len(found) > micros:
            raise ScheduleError(f"{kind}{max(found)} is of no micro-batch; needed: numbers below {micros}")
        if found != sorted(found):
            raise ScheduleError(f"{kind} actions stand as {found}; needed: ascending, so that sums are too")
    if len(lane) != len(kinds) * micros:
        stranger = next(action for action in lane if action.kind not in kinds)
        raise ScheduleError(f"{stranger} is not for a schedule to say; needed: F, I, W and B only")
    for micro in range(micros if trains else 0):
        if not place[Kind.F, micro] < place[Kind.I, micro] < place[Kind.W, micro]:
            raise ScheduleError(f"micro-batch {micro} is out of order; needed: F, then I, then W")
    activations, _ = peaks(lane, lane[0].chunk)
    if trains and activations > limit:
        raise ScheduleError(f"{activations} micro-batches are in flight; needed: at most {limit}")


def _check_live(schedule: Schedule, targets: bool, outputs: bool) -> None:
    lanes = len(schedule.lanes)
    whole = whole_graph(lower(schedule, targets, outputs), rooms_of(schedule), 1)
    result = simulate(wire(whole), [{}] * schedule.stages, [1] * lanes, strict=True)
    if result.stuck:
        first = {lane: whole.graphs[lane][i].action for lane, i in reversed(result.stuck) if lane < lanes}
        names = ", ".join(f"rank {lane} at {first[lane]}" for lane in sorted(first))
        raise ScheduleError(f"schedule {schedule.name} never ends, each waits for another: {names}\n{schedule}")
