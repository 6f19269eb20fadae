"""Proof that a schedule can run: complete, in order, within its limits, and live even where every send waits for its
receive (a rendezvous). What fails is shown in the grid."""

from mpipipe.errors import ScheduleError
from mpipipe.schedule.actions import Action, Kind, Lane, Schedule
from mpipipe.schedule.graph import whole_graph
from mpipipe.schedule.lower import lower
from mpipipe.schedule.peaks import peaks
from mpipipe.schedule.simulate import simulate


def check(schedule: Schedule, targets: bool = True, outputs: bool = False) -> None:
    """Raises ScheduleError naming stage, action and fault, with the whole schedule below it."""
    for stage, lane in enumerate(schedule.lanes):
        try:
            _check_lane(_split(lane), schedule.micros, schedule.in_flight[stage])
        except ScheduleError as error:
            raise ScheduleError(f"schedule {schedule.name}, stage {stage}: {error}\n{schedule}") from error
    _check_live(schedule, targets, outputs)


def _split(lane: Lane) -> Lane:
    split: list[Action] = []
    for action in lane:
        kinds = (Kind.I, Kind.W) if action.kind == Kind.B else (action.kind,)
        split += [Action(kind, action.micro) for kind in kinds]
    return tuple(split)


def _check_lane(lane: Lane, micros: int, limit: int) -> None:
    trains = any(action.kind in (Kind.I, Kind.W) for action in lane)
    place = {action: index for index, action in enumerate(lane)}
    if len(place) != len(lane):
        twice = next(action for action in place if lane.count(action) > 1)
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
        if not place[Action(Kind.F, micro)] < place[Action(Kind.I, micro)] < place[Action(Kind.W, micro)]:
            raise ScheduleError(f"micro-batch {micro} is out of order; needed: F, then I, then W")
    activations, _ = peaks(lane)
    if trains and activations > limit:
        raise ScheduleError(f"{activations} micro-batches are in flight; needed: at most {limit}")


def _check_live(schedule: Schedule, targets: bool, outputs: bool) -> None:
    stages = len(schedule.lanes)
    held = [max(1, peaks(lane)[1]) for lane in schedule.lanes]
    graphs = whole_graph(lower(schedule, targets, outputs), schedule.in_flight, held, [1] * stages, 1)
    result = simulate(graphs, [{}] * len(graphs), [1] * len(graphs), strict=True)
    if result.stuck:
        first = {lane: graphs[lane][i].action for lane, i in reversed(result.stuck) if lane < stages}
        names = ", ".join(f"stage {lane} at {first[lane]}" for lane in sorted(first))
        raise ScheduleError(f"schedule {schedule.name} never ends, each waits for another: {names}\n{schedule}")
