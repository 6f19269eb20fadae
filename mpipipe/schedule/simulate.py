"""How long a schedule takes: an event simulation of the graphs, by the rules that the runtime follows.

Each lane has worker threads that take the ready task which stands first in the lane. A message needs its sender's and
its receiver's node to be ready (a rendezvous), then takes latency + bytes / bandwidth. With no time at all it still
tells whether the schedule ends.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpipipe.schedule.actions import Action, Kind
from mpipipe.schedule.graph import Graph

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


def simulate(
    graphs: Sequence[Graph],
    times: Sequence[Mapping[Kind, float]],
    threads: Sequence[int],
    message_s: Mapping[tuple[Kind, int], float] | None = None,
    strict: bool = False,
) -> Simulation:
    """Run all lanes (stages, source, sink). `times[lane]` gives seconds for each task of a kind.

    `message_s[kind of the send, lane]` is what a message takes. `strict` makes every lane keep its order, which is how
    schedules are checked: whatever then ends, ends under the freer rules of the runtime too.
    """
    return _Simulator(graphs, times, threads, message_s or {}, strict).run()


class _Simulator:
    def __init__(
        self,
        graphs: Sequence[Graph],
        times: Sequence[Mapping[Kind, float]],
        threads: Sequence[int],
        message_s: Mapping[tuple[Kind, int], float],
        strict: bool,
    ) -> None:
        self.graphs, self.times, self.message_s, self.strict = graphs, times, message_s, strict
        self.free = list(threads)
        self.missing = [[len(node.needs) for node in graph] for graph in graphs]
        self.users: list[dict[int, list[int]]] = [_users(graph) for graph in graphs]
        self.ready: list[list[int]] = [[] for _ in graphs]
        self.order = [[i for i, node in enumerate(graph) if node.computes] for graph in graphs]
        self.next = [0] * len(graphs)
        self.posted: dict[tuple[int, Action], int] = {}
        self.partner = self._partners()
        self.events: list[tuple[float, int, int, float]] = []
        self.spans: list[Span] = []
        self.busy = [0.0] * len(graphs)

    def _partners(self) -> dict[Place, tuple[int, Action]]:
        last, source, sink = len(self.graphs) - 3, len(self.graphs) - 2, len(self.graphs) - 1
        partner: dict[Place, tuple[int, Action]] = {}
        where: dict[tuple[int, Action], int] = {}
        for lane, graph in enumerate(self.graphs):
            for i, node in enumerate(graph):
                where[lane, node.action] = i
        for lane, graph in enumerate(self.graphs):
            for i, node in enumerate(graph):
                kind, micro = node.action.kind, node.action.micro
                if kind not in SENDS:
                    continue
                to = {
                    Kind.SEND_DATA: 0,
                    Kind.SEND_TARGET: last,
                    Kind.SEND_ACT: lane + 1,
                    Kind.SEND_GRAD: lane - 1,
                    Kind.SEND_OUT: sink,
                }[kind]
                twin = Action(SENDS[kind], micro)
                partner[lane, i] = (to, twin)
                if (to, twin) in where:
                    partner[to, where[to, twin]] = (lane, node.action)
        assert source >= 0
        return partner

    def run(self) -> Simulation:
        for lane, missing in enumerate(self.missing):
            for i, count in enumerate(missing):
                if not count:
                    self._make_ready(lane, i, 0.0)
            self._start_tasks(lane, 0.0)
        end = 0.0
        while self.events:
            end, lane, i, start = heapq.heappop(self.events)
            self._finish(lane, i, start, end)
        stuck = tuple(
            (lane, i) for lane, graph in enumerate(self.graphs) for i in range(len(graph)) if self.missing[lane][i] >= 0
        )
        return Simulation(end, tuple(self.spans), tuple(self.busy), stuck)

    def _make_ready(self, lane: int, i: int, now: float) -> None:
        node = self.graphs[lane][i]
        if node.computes:
            heapq.heappush(self.ready[lane], i)
            return
        self.posted[lane, node.action] = i
        other = self.partner.get((lane, i))
        if other in self.posted and other is not None:
            sender = (lane, i) if node.action.kind in SENDS else (other[0], self.posted[other])
            kind = self.graphs[sender[0]][sender[1]].action.kind
            end = now + self.message_s.get((kind, sender[0]), 0.0)
            heapq.heappush(self.events, (end, lane, i, now))
            heapq.heappush(self.events, (end, other[0], self.posted[other], now))

    def _start_tasks(self, lane: int, now: float) -> None:
        ready = self.ready[lane]
        while self.free[lane] and ready:
            if self.strict and ready[0] != self.order[lane][self.next[lane]]:
                return
            i = heapq.heappop(ready)
            self.next[lane] += 1
            self.free[lane] -= 1
            cost = self.times[lane].get(self.graphs[lane][i].action.kind, 0.0)
            heapq.heappush(self.events, (now + cost, lane, i, now))

    def _finish(self, lane: int, i: int, start: float, now: float) -> None:
        node = self.graphs[lane][i]
        self.missing[lane][i] = -1
        self.spans.append(Span(lane, node.action, node.part, start, now))
        if node.computes:
            self.free[lane] += 1
            self.busy[lane] += now - start
        for user in self.users[lane].get(i, ()):
            self.missing[lane][user] -= 1
            if not self.missing[lane][user]:
                self._make_ready(lane, user, now)
        self._start_tasks(lane, now)


def _users(graph: Graph) -> dict[int, list[int]]:
    users: dict[int, list[int]] = {}
    for i, node in enumerate(graph):
        for need in node.needs:
            users.setdefault(need, []).append(i)
    return users
