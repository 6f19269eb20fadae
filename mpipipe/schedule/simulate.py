"""How long a schedule takes: an event simulation of the graphs, by the rules that the runtime follows.

Each lane has worker threads that take the ready task which stands first in the lane. A message needs its sender's and
its receiver's node to be ready (a rendezvous). It then waits until the wire is free, from one lane to another in one
direction, holds it for as long as its bytes take, and arrives a latency later. With no time at all the simulation
still tells whether the schedule ends.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpipipe.schedule.actions import Action, Kind, Placement, lane_of
from mpipipe.schedule.graph import WholeGraph

SENDS = {
    Kind.SEND_DATA: Kind.RECV_ACT,
    Kind.SEND_TARGET: Kind.RECV_TARGET,
    Kind.SEND_ACT: Kind.RECV_ACT,
    Kind.SEND_GRAD: Kind.RECV_GRAD,
    Kind.SEND_OUT: Kind.RECV_OUT,
}

Place = tuple[int, int]
"""A node: its lane and its index in the lane."""


@dataclass(frozen=True)
class Transfer:
    """What a message takes: `wire_s` while no other may use the wire, and then `latency_s`."""

    latency_s: float = 0.0
    wire_s: float = 0.0


@dataclass(frozen=True)
class Span:
    """One node in time, in seconds from the start of the batch."""

    lane: int
    action: Action
    part: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Simulation:
    """`stuck` names the nodes that never ended: empty for a schedule that ends. `busy_s` is worker time of a lane."""

    end_s: float
    spans: tuple[Span, ...]
    busy_s: tuple[float, ...]
    stuck: tuple[Place, ...]


@dataclass(frozen=True)
class Wiring:
    """The graphs as flat lists, nodes of all lanes numbered through: made once, simulated with many costs."""

    whole: WholeGraph
    base: tuple[int, ...]
    lane: tuple[int, ...]
    stage: tuple[int, ...]
    needs: tuple[int, ...]
    users: tuple[tuple[int, ...], ...]
    partner: tuple[int, ...]


def wire(whole: WholeGraph) -> Wiring:
    """Number all nodes, and find the other end of every message (-1 for a task)."""
    base, lanes, stages, needs = [0], [], [], []
    users: list[list[int]] = []
    where: dict[tuple[int, Action], int] = {}
    for lane, graph in enumerate(whole.graphs):
        start = base[-1]
        users += [[] for _ in graph]
        for i, node in enumerate(graph):
            lanes.append(lane)
            stages.append(_stage(whole.placement, lane, node.action))
            needs.append(len(node.needs))
            for need in node.needs:
                users[start + need].append(start + i)
            where[lane, node.action] = start + i
        base.append(start + len(graph))
    partner = _partners(whole, where)
    return Wiring(whole, tuple(base), tuple(lanes), tuple(stages), tuple(needs), tuple(map(tuple, users)), partner)


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


def simulate(
    wiring: Wiring,
    times: Sequence[Mapping[Kind, float]],
    threads: Sequence[int],
    transfers: Mapping[tuple[Kind, int], Transfer] | None = None,
    strict: bool = False,
) -> Simulation:
    """Run all lanes. `times[stage]` gives seconds for each task of a kind, `threads` the workers of each rank's lane.

    `transfers[kind of the send, stage]` is what a message takes; what is not there takes nothing. `strict` makes every
    lane keep its order, which is how schedules are checked: whatever then ends, ends under the runtime's freer rules.
    """
    return _Simulator(wiring, times, threads, transfers or {}, strict).run()


class _Simulator:
    def __init__(
        self,
        wiring: Wiring,
        times: Sequence[Mapping[Kind, float]],
        threads: Sequence[int],
        transfers: Mapping[tuple[Kind, int], Transfer],
        strict: bool,
    ) -> None:
        self.wiring, self.transfers, self.strict = wiring, transfers, strict
        graphs = wiring.whole.graphs
        self.nodes = [node for graph in graphs for node in graph]
        self.costs = [
            times[stage].get(node.action.kind, 0.0) if stage >= 0 else 0.0
            for node, stage in zip(self.nodes, wiring.stage, strict=True)
        ]
        self.computes = [node.computes for node in self.nodes]
        self.missing = list(wiring.needs)
        self.free = [*threads, 1, 1]
        self.ready: list[list[int]] = [[] for _ in graphs]
        self.order = [
            [i for i in range(a, b) if self.computes[i]] for a, b in zip(wiring.base, wiring.base[1:], strict=False)
        ]
        self.next = [0] * len(graphs)
        self.posted = [False] * len(self.nodes)
        self.wires: dict[tuple[int, int], float] = {}
        self.events: list[tuple[float, int]] = []
        self.began = [-1.0] * len(self.nodes)
        self.ended = [-1.0] * len(self.nodes)

    def run(self) -> Simulation:
        for lane in range(len(self.free)):
            for i in range(self.wiring.base[lane], self.wiring.base[lane + 1]):
                if not self.wiring.needs[i]:
                    self._make_ready(i, 0.0)
            self._start_tasks(lane, 0.0)
        end, events, lanes = 0.0, self.events, self.wiring.lane
        while events:
            end, i = heapq.heappop(events)
            self.ended[i] = end
            lane = lanes[i]
            if self.computes[i]:
                self.free[lane] += 1
            for user in self.wiring.users[i]:
                self.missing[user] -= 1
                if not self.missing[user]:
                    self._make_ready(user, end)
            if self.ready[lane]:
                self._start_tasks(lane, end)
        return self._result(end)

    def _make_ready(self, i: int, now: float) -> None:
        if self.computes[i]:
            heapq.heappush(self.ready[self.wiring.lane[i]], i)
            return
        self.posted[i] = True
        other = self.wiring.partner[i]
        if other >= 0 and self.posted[other]:
            self._transfer(i if self.nodes[i].action.kind in SENDS else other, now)

    def _transfer(self, sender: int, now: float) -> None:
        receiver, lane = self.wiring.partner[sender], self.wiring.lane
        transfer = self.transfers.get((self.nodes[sender].action.kind, self.wiring.stage[sender]))
        end = start = now
        if transfer is not None:
            wire = (lane[sender], lane[receiver])
            start = max(now, self.wires.get(wire, 0.0))
            self.wires[wire] = start + transfer.wire_s
            end = start + transfer.wire_s + transfer.latency_s
        self.began[sender] = self.began[receiver] = start
        heapq.heappush(self.events, (end, sender))
        heapq.heappush(self.events, (end, receiver))

    def _start_tasks(self, lane: int, now: float) -> None:
        ready = self.ready[lane]
        while self.free[lane] and ready:
            if self.strict and ready[0] != self.order[lane][self.next[lane]]:
                return
            i = heapq.heappop(ready)
            self.next[lane] += 1
            self.free[lane] -= 1
            self.began[i] = now
            heapq.heappush(self.events, (now + self.costs[i], i))

    def _result(self, end: float) -> Simulation:
        lanes, busy = self.wiring.lane, [0.0] * len(self.free)
        done = sorted((self.ended[i], i) for i in range(len(self.nodes)) if self.ended[i] >= 0)
        for ended, i in done:
            if self.computes[i]:
                busy[lanes[i]] += ended - self.began[i]
        spans = tuple(Span(lanes[i], self.nodes[i].action, self.nodes[i].part, self.began[i], at) for at, i in done)
        stuck = tuple((lanes[i], i - self.wiring.base[lanes[i]]) for i, at in enumerate(self.ended) if at < 0)
        return Simulation(end, spans, tuple(busy), stuck)
