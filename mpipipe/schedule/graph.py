"""What waits for what: every lowered lane as a graph, the one that the runtime executes and the simulator times.

A stage has `in_flight` activation slots and `gradients` gradient slots; micro-batch m uses slot m modulo their number.
So an action waits for its inputs, for the slot that it writes to, and, for W, for the same part of the micro-batch
before: weight gradients add up in ascending order on every cluster. Everything else may run side by side; the place in
the lane is only a priority.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mpipipe.schedule.actions import COMPUTE, Action, Kind, Lane, Placement
from mpipipe.schedule.lower import Lowered

SLOTS = 4
"""Micro-batches whose samples may be on their way to the first stage, where it takes so many."""


class Node(NamedTuple):
    """One task or one message. `part` counts the tasks of a W; `needs` are the nodes of this lane to wait for."""

    action: Action
    part: int
    needs: tuple[int, ...]

    @property
    def computes(self) -> bool:
        """Whether a worker thread does it."""
        return self.action.kind in COMPUTE


Graph = tuple[Node, ...]


@dataclass(frozen=True)
class Room:
    """A stage's slots for activations and for gradients, and the tasks in each W (0: no weights)."""

    in_flight: int
    gradients: int
    parts: int = 1


@dataclass(frozen=True)
class WholeGraph:
    """Graphs of all lanes, then of the source and of the sink."""

    placement: Placement
    graphs: tuple[Graph, ...]


@lru_cache(maxsize=256)
def stage_graph(lane: Lane, rooms: tuple[Room, ...]) -> Graph:
    """The graph of one lane, with the room of each of its chunks."""
    places: dict[tuple[Kind, int, int], range] = {}
    count = 0
    for action in lane:
        micro, chunk = action.micro, action.chunk
        tasks = rooms[chunk].parts if action.kind == Kind.W else 1
        places[action.kind, micro, chunk] = range(count, count + tasks)
        if not tasks and (Kind.I, micro, chunk) in places:
            # A W without tasks ends when its I ends.
            places[Kind.W, micro, chunk] = places[Kind.I, micro, chunk]
        count += tasks
    nodes: list[Node] = []
    trains = any(action.kind == Kind.W for action in lane)
    for action in lane:
        room, chunk = rooms[action.chunk], action.chunk
        # What is needed may stand later in the lane: gpipe's F1 waits for W0 where there is room for one micro-batch.
        wanted = _needs(action, room, trains)
        common = [place for kind, micro in wanted for place in places.get((kind, micro, chunk), ())]
        before = places.get((Kind.W, action.micro - 1, chunk), range(0)) if action.kind == Kind.W else range(0)
        for part in range(room.parts if action.kind == Kind.W else 1):
            nodes.append(Node(action, part, (*common, *before[part : part + 1])))
    return tuple(nodes)


def _needs(action: Action, room: Room, trains: bool) -> list[tuple[Kind, int]]:
    micro, slot, held = action.micro, action.micro - room.in_flight, action.micro - room.gradients
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


def sample_slots(micros: int, in_flight: int) -> int:
    """Buffers for samples: of those on their way to the first stage, and the one being loaded."""
    return min(micros, in_flight, SLOTS) + 1


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


def whole_graph(lowered: Lowered, rooms: Sequence[Room], slots: int) -> WholeGraph:
    """All graphs; `rooms` are those of the stages."""
    placement = lowered.schedule.placement
    lanes = zip(lowered.lanes, placement, strict=True)
    stages = [stage_graph(lane, tuple(rooms[stage] for stage in held)) for lane, held in lanes]
    return WholeGraph(placement, (*stages, source_graph(lowered.source, slots), sink_graph(lowered.sink)))
