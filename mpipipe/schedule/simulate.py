"""How long a schedule takes: an event simulation of the graphs, by the rules that the runtime follows.

Each lane has worker threads that take the ready task which stands first in the lane. A message needs its sender's and
its receiver's node to be ready (a rendezvous). It then waits until the wire is free, from one lane to another in one
direction, holds it for as long as its bytes take, and arrives a latency later. With no time at all the simulation
still tells whether the schedule ends.

Lanes of one host may have fewer cores than workers. While n tasks want c cores, each gets min(1, c / n) of one, and all
of them go on at that pace: the processor sharing that a fair scheduler comes near to (mpipipe/schedule/sharing.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from math import inf
from operator import add

from mpipipe.schedule.actions import Action, Kind
from mpipipe.schedule.sharing import GOLDEN, Hosts, SharedCores
from mpipipe.schedule.wiring import Wiring

COMPUTING = (Kind.F, Kind.I, Kind.W)
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
    """When each node of the wiring began and ended, -1 where it never did; `busy_s` is worker time of a lane."""

    wiring: Wiring
    end_s: float
    busy_s: tuple[float, ...]
    began_s: tuple[float, ...]
    ended_s: tuple[float, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """What ended, in order."""
        nodes = [node for graph in self.wiring.whole.graphs for node in graph]
        done = sorted((ended, i) for i, ended in enumerate(self.ended_s) if ended >= 0)
        return tuple(
            Span(self.wiring.lane[i], nodes[i].action, nodes[i].part, self.began_s[i], ended) for ended, i in done
        )

    @property
    def stuck(self) -> tuple[Place, ...]:
        """The nodes that never ended: none in a schedule that ends."""
        lane, base = self.wiring.lane, self.wiring.base
        return tuple((lane[i], i - base[lane[i]]) for i, ended in enumerate(self.ended_s) if ended < 0)


def simulate(
    wiring: Wiring,
    times: Sequence[Mapping[Kind, float]],
    threads: Sequence[int],
    transfers: Mapping[tuple[Kind, int], Transfer] | None = None,
    strict: bool = False,
    hosts: Hosts | None = None,
) -> Simulation:
    """Run all lanes. `times[stage]` gives seconds for each task of a kind, `threads` the workers of each rank's lane.

    `transfers[kind of the send, stage]` is what a message takes; what is not there takes nothing. `strict` makes every
    lane keep its order, which is how schedules are checked: whatever then ends, ends under the runtime's freer rules.
    Without `hosts` every worker has a core of its own, and samples are there at once.
    """
    return _Simulator(wiring, times, threads, transfers or {}, strict, hosts or Hosts()).run()


class _Simulator:
    def __init__(
        self,
        wiring: Wiring,
        times: Sequence[Mapping[Kind, float]],
        threads: Sequence[int],
        transfers: Mapping[tuple[Kind, int], Transfer],
        strict: bool,
        hosts: Hosts,
    ) -> None:
        self.wiring, count, lanes = wiring, len(wiring.lane), len(wiring.base) - 1
        work_s = [times[stage].get(kind, 0.0) if stage >= 0 else 0.0 for kind, stage in wiring.groups]
        overhead_s = [
            hosts.overhead_s[stage] if hosts.overhead_s and stage >= 0 and kind in COMPUTING else 0.0
            for kind, stage in wiring.groups
        ]
        seconds = list(map(add, work_s, overhead_s))
        self.costs = [seconds[group] for group in wiring.group]
        self.works = [one / all_s if all_s else 1.0 for one, all_s in zip(work_s, seconds, strict=True)]
        """Of what a task of a group takes, the part that is its work."""
        self.transfers = [transfers.get(group) for group in wiring.groups]
        self.missing = list(wiring.needs)
        self.free = [*threads, 1, 1]
        self.ready: list[list[int]] = [[] for _ in range(lanes)]
        self.order: list[Iterator[int]] = []
        if strict:
            edges = zip(wiring.base, wiring.base[1:], strict=False)
            self.order = [iter([*(i for i in range(a, b) if wiring.task[i]), -1]) for a, b in edges]
        self.next = [next(order) for order in self.order]
        self.posted = [False] * count
        self.wires: dict[tuple[int, int], float] = {}
        self.events: list[tuple[float, int]] = []
        self.sleeps = [hosts.sleeping[stage] if stage >= 0 and hosts.sleeping else 0.0 for _, stage in wiring.groups]
        self.hosts = [
            SharedCores(one.count, one.period_s, (1 + number) * GOLDEN % 1) for number, one in enumerate(hosts.cores)
        ]
        self.quotas = [one.count if one.period_s else inf for one in hosts.cores]
        self.host_of = [-1] * lanes
        for number, one in enumerate(hosts.cores):
            for lane in one.lanes:
                self.host_of[lane] = number
        self.pool = list(range(lanes))
        """The lane whose workers do a lane's tasks."""
        if hosts.feeder >= 0:
            source = lanes - 2
            self.pool[source], self.host_of[source] = hosts.feeder, self.host_of[hosts.feeder]
            for i in range(wiring.base[source], wiring.base[source + 1]):
                self.costs[i] = hosts.load_s * wiring.task[i]
        self.busy = [0.0] * lanes
        self.began, self.ended = [-1.0] * count, [-1.0] * count

    def run(self) -> Simulation:
        wiring, events, missing, free, ready, busy = (
            self.wiring, self.events, self.missing, self.free, self.ready, self.busy,
        )  # fmt: skip
        lanes, tasks, users = [self.pool[lane] for lane in wiring.lane], wiring.task, wiring.users
        for lane in range(len(ready)):
            for i in range(wiring.base[lane], wiring.base[lane + 1]):
                if not missing[i]:
                    self._make_ready(i, 0.0)
        for lane in range(len(ready)):
            self._start_tasks(lane, 0.0)
        end, count = 0.0, len(lanes)
        while events:
            end, i = heappop(events)
            if i >= count:
                self._begin_shared(self.host_of[lanes[i - count]], end, i - count)
                continue
            if i < 0:
                i = self._end_shared(-1 - i, end)
                if i < 0:
                    continue
            self.ended[i] = end
            lane = lanes[i]
            if tasks[i]:
                free[lane] += 1
                part = self.works[wiring.group[i]]
                if part < 1:
                    self.began[i] = end - (end - self.began[i]) * part
                busy[lane] += end - self.began[i]
            for user in users[i]:
                missing[user] -= 1
                if not missing[user]:
                    self._make_ready(user, end)
            if ready[lane] and free[lane]:
                self._start_tasks(lane, end)
        end = max([end, *(host.spent_s / quota for host, quota in zip(self.hosts, self.quotas, strict=True))])
        return Simulation(wiring, end, tuple(busy), tuple(self.began), tuple(self.ended))

    def _make_ready(self, i: int, now: float) -> None:
        if self.wiring.task[i]:
            lane = self.wiring.lane[i]
            # Samples come first with the workers that load them: a number below 0 stands before all others.
            heappush(self.ready[self.pool[lane]], i if self.pool[lane] == lane else i - len(self.costs))
            return
        self.posted[i] = True
        other = self.wiring.partner[i]
        if other >= 0 and self.posted[other]:
            self._transfer(*((i, other) if self.wiring.sends[i] else (other, i)), now)

    def _transfer(self, sender: int, receiver: int, now: float) -> None:
        transfer = self.transfers[self.wiring.group[sender]]
        end = start = now
        if transfer is not None:
            wire = (self.wiring.lane[sender], self.wiring.lane[receiver])
            start = max(now, self.wires.get(wire, 0.0))
            self.wires[wire] = start + transfer.wire_s
            end = start + transfer.wire_s + transfer.latency_s
        self.began[sender] = self.began[receiver] = start
        heappush(self.events, (end, sender))
        heappush(self.events, (end, receiver))

    def _start_tasks(self, lane: int, now: float) -> None:
        ready = self.ready[lane]
        while self.free[lane] and ready:
            if self.order:
                if ready[0] != self.next[lane]:
                    return
                self.next[lane] = next(self.order[lane])
            i = heappop(ready)
            i += len(self.costs) * (i < 0)
            self.free[lane] -= 1
            self.began[i] = now
            host, asleep = self.host_of[lane], self.sleeps[self.wiring.group[i]]
            if host < 0:
                heappush(self.events, (now + self.costs[i], i))
            elif asleep:
                heappush(self.events, (now + asleep * self.costs[i], len(self.costs) + i))
            else:
                self._begin_shared(host, now, i)

    # Of tasks that share cores an event tells when the next one of a host ends, should nothing change until then: its
    # number is -1 - host. A task that sleeps first has one more, its number plus that of all nodes.

    def _begin_shared(self, host: int, now: float, i: int) -> None:
        awake = 1 - self.sleeps[self.wiring.group[i]]
        self.hosts[host].begin(now, awake * self.costs[i], i)
        heappush(self.events, (self.hosts[host].due_s, -1 - host))

    def _end_shared(self, host: int, now: float) -> int:
        """The task of a host that ends now; -1 where something has changed since that was expected."""
        if now != self.hosts[host].due_s:
            return -1
        i = self.hosts[host].end(now)
        if self.hosts[host].tasks:
            heappush(self.events, (self.hosts[host].due_s, -1 - host))
        return i
