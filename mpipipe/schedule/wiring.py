"""The graphs of all lanes as flat lists, with both ends of every message joined: what a simulation runs on."""

from collections.abc import Mapping
from dataclasses import dataclass

from mpipipe.schedule.actions import COMPUTE, Action, Kind, Placement, lane_of
from mpipipe.schedule.graph import WholeGraph

SENDS = {
    Kind.SEND_DATA: Kind.RECV_ACT,
    Kind.SEND_TARGET: Kind.RECV_TARGET,
    Kind.SEND_ACT: Kind.RECV_ACT,
    Kind.SEND_GRAD: Kind.RECV_GRAD,
    Kind.SEND_OUT: Kind.RECV_OUT,
}
"""By the kind of a send, that of its receive."""


@dataclass(frozen=True)
class Wiring:
    """The graphs as flat lists, nodes of all lanes numbered through: made once, simulated with many costs.

    `groups` are the kinds of actions of each stage, `group` those of the nodes. `users` of a node wait for it, and are
    of its lane; `partner` is the other end of a message, -1 for a task.
    """

    whole: WholeGraph
    base: tuple[int, ...]
    lane: tuple[int, ...]
    groups: tuple[tuple[Kind, int], ...]
    group: tuple[int, ...]
    task: tuple[bool, ...]
    sends: tuple[bool, ...]
    needs: tuple[int, ...]
    users: tuple[tuple[int, ...], ...]
    partner: tuple[int, ...]


def wire(whole: WholeGraph) -> Wiring:
    """Number all nodes, and find the other end of every message."""
    base, lanes, group, needs = [0], [], [], []
    users: list[list[int]] = []
    groups: dict[tuple[Kind, int], int] = {}
    where: dict[tuple[int, Action], int] = {}
    for lane, graph in enumerate(whole.graphs):
        start = base[-1]
        users += [[] for _ in graph]
        for i, node in enumerate(graph):
            lanes.append(lane)
            group.append(groups.setdefault((node.action.kind, _stage(whole.placement, lane, node.action)), len(groups)))
            needs.append(len(node.needs))
            for need in node.needs:
                users[start + need].append(start + i)
            where[lane, node.action] = start + i
        base.append(start + len(graph))
    task, sends = ([kind in some for kind, _ in groups] for some in (COMPUTE, SENDS))
    return Wiring(
        whole, tuple(base), tuple(lanes), tuple(groups), tuple(group), tuple(task[g] for g in group),
        tuple(sends[g] for g in group), tuple(needs), tuple(map(tuple, users)), _partners(whole, where),
    )  # fmt: skip


def _stage(placement: Placement, lane: int, action: Action) -> int:
    return placement[lane][action.chunk] if lane < len(placement) else -1


def _partners(whole: WholeGraph, where: Mapping[tuple[int, Action], int]) -> tuple[int, ...]:
    lanes = len(whole.placement)
    places = lane_of(whole.placement)
    last = len(places) - 1
    partner = [-1] * sum(map(len, whole.graphs))
    for (lane, action), i in where.items():
        if action.kind not in SENDS:
            continue
        stage = _stage(whole.placement, lane, action)
        to = {Kind.SEND_DATA: 0, Kind.SEND_TARGET: last, Kind.SEND_ACT: stage + 1, Kind.SEND_GRAD: stage - 1}
        there, chunk = (lanes + 1, 0) if action.kind == Kind.SEND_OUT else places[to[action.kind]]
        twin = where.get((there, Action(SENDS[action.kind], action.micro, chunk)))
        if twin is not None:
            partner[i], partner[twin] = twin, i
    return tuple(partner)
