"""What waits for what: every lowered lane as a graph, the one that the runtime executes and the simulator times.

A stage has `in_flight` activation slots and `gradients` gradient slots; micro-batch m uses slot m modulo their number.
So an action waits for its inputs, for the slot that it writes to, and, for W, for the same part of the micro-batch
before: weight gradients add up in ascending order on every cluster. Everything else may run side by side; the place in
the lane is only a priority.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mpipipe.schedule.actions import COMPUTE, Action, Kind, Lane
from mpipipe.schedule.lower import Lowered


@dataclass(frozen=True)
class Node:
    """One task or one message. `part` counts the tasks of a W; `needs` are the nodes of this lane to wait for."""

    action: Action
    part: int
    needs: tuple[int, ...]

    @property
    def computes(self) -> bool:
        """Whether a worker thread does it."""
        return self.action.kind in COMPUTE


Graph = tuple[Node, ...]


def stage_graph(lane: Lane, in_flight: int, gradients: int, parts: int) -> Graph:
    """The graph of one stage's lane, with `parts` tasks in each W (0: no weights)."""
    places: dict[tuple[Kind, int], range] = {}
    count = 0
    for action in lane:
        tasks = parts if action.kind == Kind.W else 1
        places[action.kind, action.micro] = range(count, count + tasks)
        if not tasks and (Kind.I, action.micro) in places:
            # A W without tasks ends when its I ends.
            places[Kind.W, action.micro] = places[Kind.I, action.micro]
        count += tasks
    nodes: list[Node] = []
    trains = any(action.kind == Kind.W for action in lane)
    for action in lane:
        # What is needed may stand later in the lane: gpipe's F1 waits for W0 where there is room for one micro-batch.
        wanted = _needs(action, in_flight, gradients, trains)
        common = [place for need in wanted for place in places.get(need, ())]
        before = places.get((Kind.W, action.micro - 1), range(0)) if action.kind == Kind.W else range(0)
        for part in range(parts if action.kind == Kind.W else 1):
            nodes.append(Node(action, part, (*common, *before[part : part + 1])))
    return tuple(nodes)


def _needs(action: Action, in_flight: int, gradients: int, trains: bool) -> list[tuple[Kind, int]]:
    micro, slot, held = action.micro, action.micro - in_flight, action.micro - gradients
    match action.kind:
        case Kind.RECV_ACT | Kind.RECV_TARGET:
            return [(Kind.W if trains else Kind.F, slot)]
        case Kind.F:
            return [(Kind.RECV_ACT, micro), (Kind.RECV_TARGET, micro), (Kind.SEND_ACT, slot), (Kind.SEND_OUT, slot)]
        case Kind.RECV_GRAD:
            return [(Kind.W, held)]
        case Kind.I:
            return [(Kind.F, micro), (Kind.RECV_GRAD, micro), (Kind.W, held), (Kind.SEND_GRAD, held)]
        case Kind.W:
            return [(Kind.I, micro)]
        case Kind.SEND_ACT | Kind.SEND_OUT:
            return [(Kind.F, micro)]
        case Kind.SEND_GRAD:
            return [(Kind.I, micro)]
        case _:
            return []


def source_graph(lane: Lane, slots: int) -> Graph:
    """The graph of the source's lane, with `slots` buffers for samples on their way.

    Targets are kept for the whole batch: were they to share the slots, samples would wait for the last stage.
    """
    places: dict[tuple[Kind, int], int] = {}
    nodes: list[Node] = []
    for action in lane:
        loads = action.kind == Kind.LOAD
        wanted = [(Kind.SEND_DATA, action.micro - slots) if loads else (Kind.LOAD, action.micro)]
        places[action.kind, action.micro] = len(nodes)
        nodes.append(Node(action, 0, tuple(places[need] for need in wanted if need in places)))
    return tuple(nodes)


def sink_graph(lane: Lane) -> Graph:
    """Receives with nothing to wait for."""
    return tuple(Node(action, 0, ()) for action in lane)


def whole_graph(
    lowered: Lowered, in_flight: Sequence[int], gradients: Sequence[int], parts: Sequence[int], slots: int
) -> tuple[Graph, ...]:
    """Graphs of all stages, then of the source and of the sink."""
    stages = zip(lowered.lanes, in_flight, gradients, parts, strict=True)
    return (*(stage_graph(*stage) for stage in stages), source_graph(lowered.source, slots), sink_graph(lowered.sink))
