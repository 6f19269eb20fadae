"""Replays graphs in any order that their needs allow, and watches every array that the actions touch.

Arrays are named as a stage has them: input x and output y of an activation slot, what F saves, the target; gradients dy
and dx and what I holds of a gradient slot; the sum of each part of W; a buffer of the source. An array may be written
by one and read by none at a time, or read by many; who reads finds the micro-batch that it wants. A message is begun
as soon as its needs are met, and touches its array from then until its own end is known, which each side learns at a
moment of its own.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from mpipipe.schedule import Action, Kind, WholeGraph, lane_of

RECEIVERS = {
    Kind.SEND_DATA: (Kind.RECV_ACT, lambda stage, stages: 0),
    Kind.SEND_TARGET: (Kind.RECV_TARGET, lambda stage, stages: stages - 1),
    Kind.SEND_ACT: (Kind.RECV_ACT, lambda stage, stages: stage + 1),
    Kind.SEND_GRAD: (Kind.RECV_GRAD, lambda stage, stages: stage - 1),
    Kind.SEND_OUT: (Kind.RECV_OUT, lambda stage, stages: -1),
}
READS = {
    Kind.F: ("x", "target"),
    Kind.I: ("x", "y", "saved", "dy", "target"),
    Kind.W: ("x", "saved", "dy", "held"),
    Kind.SEND_ACT: ("y",),
    Kind.SEND_OUT: ("y",),
    Kind.SEND_GRAD: ("dx",),
    Kind.SEND_DATA: ("features",),
    Kind.SEND_TARGET: ("targets",),
}
WRITES = {
    Kind.RECV_ACT: ("x",),
    Kind.RECV_TARGET: ("target",),
    Kind.RECV_GRAD: ("dy",),
    Kind.F: ("y", "saved"),
    Kind.I: ("dx", "held"),
    Kind.LOAD: ("features", "targets"),
    Kind.RECV_OUT: ("out",),
}
GRADIENTS = ("dy", "dx", "held")


@dataclass
class Cell:
    """One array: whose data it has, and who is at it."""

    micro: int | None = None
    readers: int = 0
    writing: bool = False


@dataclass
class Replay:
    """Runs all graphs with the slots that each stage has, choosing what happens next by `random`."""

    whole: WholeGraph
    slots: list
    gradients: list
    source_slots: int
    random: object
    ended: set = field(default_factory=set)

    def __post_init__(self):
        self.graphs = self.whole.graphs
        self.places = lane_of(self.whole.placement)
        self.cells = {}
        self.missing = [[len(set(node.needs)) for node in graph] for graph in self.graphs]
        self.users = [[[] for _ in graph] for graph in self.graphs]
        for lane, graph in enumerate(self.graphs):
            for i, node in enumerate(graph):
                for need in set(node.needs):
                    self.users[lane][need].append(i)
        self.startable, self.endable, self.posted = [], [], {}

    def run(self):
        """Everything, to the end. What never ends is a fault."""
        for lane, missing in enumerate(self.missing):
            for i, count in enumerate(missing):
                if not count:
                    self.ready(lane, i)
        haste = {(lane, node.action.kind): self.random.choice((0.01, 0.1, 1.0)) for lane, _, node in self.nodes()}
        while self.startable or self.endable:
            moves = self.startable + self.endable
            weights = [haste[lane, self.graphs[lane][i].action.kind] for lane, i in moves]
            (place,) = self.random.choices(moves, weights)
            if place in self.startable:
                self.startable.remove(place)
                self.begin(*place)
                self.endable.append(place)
            else:
                self.endable.remove(place)
                self.end(*place)
        stuck = [str(node.action) for lane, i, node in self.nodes() if (lane, i) not in self.ended]
        assert not stuck, f"{stuck} never ended"

    def nodes(self):
        return [(lane, i, node) for lane, graph in enumerate(self.graphs) for i, node in enumerate(graph)]

    def ready(self, lane, i):
        node = self.graphs[lane][i]
        if node.computes:
            self.startable.append((lane, i))
            return
        self.begin(lane, i)
        kind, micro, stage = node.action.kind, node.action.micro, self.stage(lane, node.action)
        if kind in RECEIVERS:
            receiver, stage_of = RECEIVERS[kind]
            key = (receiver, stage_of(stage, len(self.places)), micro)
        else:
            key = (kind, stage, micro)
        other = self.posted.pop(key, None)
        if other is None:
            self.posted[key] = (lane, i)
        else:
            self.endable += [(lane, i), other]

    def stage(self, lane: int, action: Action):
        """The stage that acts; -1 for the source and the sink."""
        return self.whole.placement[lane][action.chunk] if lane < len(self.whole.placement) else -1

    def touched(self, lane, node, table):
        """Cells of the arrays that the action reads, or writes."""
        micro, names = node.action.micro, table.get(node.action.kind, ())
        stage = self.stage(lane, node.action)
        if node.action.kind == Kind.I and stage == len(self.places) - 1:
            # Here dy comes from the loss.
            names = [name for name in names if name != "dy"] if table is READS else [*names, "dy"]
        for name in names:
            if name == "features":
                at = micro % self.source_slots
            elif name in ("targets", "out"):
                at = micro
            else:
                at = micro % (self.gradients if name in GRADIENTS else self.slots)[stage]
            yield name, self.cells.setdefault((stage, name, at), Cell())

    def begin(self, lane, i):
        node = self.graphs[lane][i]
        where = f"lane {lane}, {node.action} part {node.part}"
        for name, cell in self.touched(lane, node, READS):
            if name != "target" or cell.micro is not None:
                assert cell.micro == node.action.micro, f"{where} finds {cell.micro} in {name}"
                assert not cell.writing, f"{where} reads {name} while it is written"
            cell.readers += 1
        for name, cell in self.touched(lane, node, WRITES):
            assert not cell.writing and not cell.readers, f"{where} writes {name} while {cell.micro} is there"
            cell.micro, cell.writing = node.action.micro, True
        if node.action.kind == Kind.W:
            total = self.cells.setdefault((lane, node.action.chunk, "sum", node.part), Cell(-1))
            assert not total.writing, f"{where} adds while another does"
            assert total.micro == node.action.micro - 1, f"{where} adds after {total.micro}"
            total.writing = True

    def end(self, lane, i):
        node = self.graphs[lane][i]
        for _, cell in self.touched(lane, node, READS):
            cell.readers -= 1
        for _, cell in self.touched(lane, node, WRITES):
            cell.writing = False
        if node.action.kind == Kind.W:
            total = self.cells[lane, node.action.chunk, "sum", node.part]
            total.micro, total.writing = node.action.micro, False
        self.ended.add((lane, i))
        for user in self.users[lane][i]:
            self.missing[lane][user] -= 1
            if not self.missing[lane][user]:
                self.ready(lane, user)


def ascending(numbers):
    return all(a < b for a, b in pairwise(numbers))
