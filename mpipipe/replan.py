"""Planning anew while training, on rank 0: hosts that turn out slower, or faster again, than they were planned for.

After each full step the hosts' working seconds are compared with those that the simulation of the plan predicts, with
the ranks of a host competing for its cores. Once some host has changed for a while, the plan is made again from what
was measured; if it gains enough, for long enough to pay for moving the layers, they are moved between two steps. What
was found and done is said either way, and some steps later what the new plan promised and what a step takes.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from mpipipe.errors import PlanError
from mpipipe.job import Job
from mpipipe.layers import LayerCost, layer_costs
from mpipipe.plan import Plan, make_plan, reprice
from mpipipe.plan.simulated import simulate_plan
from mpipipe.plan.watch import WINDOW, Watch
from mpipipe.report import faster_text, human_bytes, human_seconds, plural
from mpipipe.resources import Cluster, slowed
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.move import leaving_bytes
from mpipipe.schedule import Kind
from mpipipe.start import bytes_besides_stages

GAIN = 1.1
"""How many times faster a new plan must be to be worth moving for."""
MOVING_S = 0.5
"""Seconds that moving is reckoned to take besides the messages themselves."""


@dataclass(frozen=True)
class Grounds:
    """What plans are made from: the hosts as they were measured at the start, by how much each rank is slower now."""

    costs: tuple[LayerCost, ...]
    cluster: Cluster
    job: Job
    reserved: Mapping[int, int]

    def with_speeds(self, slower: Mapping[int, float]) -> Cluster:
        """The cluster, each rank so many times as slow."""
        hosts = tuple(slowed(host, slower.get(host.rank, 1.0)) for host in self.cluster.hosts)
        return replace(self.cluster, hosts=hosts)


@dataclass(frozen=True)
class Promise:
    """Seconds of a step by a new plan, and those measured before it."""

    step_s: float
    before_s: float

    def outcome(self, measured_s: float) -> str:
        """What came of it."""
        return (
            f"the new plan takes {human_seconds(measured_s)} a step; it promised {human_seconds(self.step_s)}, and the "
            f"old one took {human_seconds(self.before_s)}"
        )


class Replanner:
    """Watches the steps of one run. `before_moving` is called before a plan is replaced."""

    def __init__(self, conductor: Conductor, cluster: Cluster, before_moving: Callable[[], None]) -> None:
        self.conductor, self.before_moving = conductor, before_moving
        job, model = conductor.crew.job, conductor.crew.model
        reserved = bytes_besides_stages(model, job.train, len(cluster.hosts))
        self.grounds = Grounds(layer_costs(model, job.train), cluster, job, reserved)
        self.slower: dict[int, float] = {}
        self.watch = watch_plan(conductor.plan)
        self.planning_s = 0.0
        self.planned_bytes = bytes_while_moving(conductor.plan, {})
        """The most that each rank was planned to take until now."""
        self.before_s: deque[float] = deque(maxlen=WINDOW)
        """Seconds of the latest full steps."""
        self.promise: Promise | None = None

    @property
    def is_of_use(self) -> bool:
        """Whether another plan could be chosen at all. Where all ranks are on one host, they are slower all alike."""
        hosts = {host.name for host in self.grounds.cluster.hosts}
        return self.grounds.job.run.replan and not self.grounds.job.plan.cuts and len(hosts) > 1

    def after(self, compute_s: Mapping[int, float], step_s: float, steps_left: int) -> list[str]:
        """After a full step: what there is to tell, if anything was decided."""
        if not self.is_of_use:
            return []
        self.before_s.append(step_s)
        if self.promise is not None and len(self.before_s) == WINDOW:
            promise, self.promise = self.promise, None
            return [promise.outcome(median(self.before_s))]
        self.watch.add(self._by_host(compute_s))
        changed = self.watch.changed()
        if not changed or steps_left * step_s < 2 * (MOVING_S + self.planning_s):
            return []
        times = self.watch.measured()
        measured = {
            host.rank: self.slower.get(host.rank, 1.0) * times.get(host.name, 1.0)
            for host in self.grounds.cluster.hosts
        }
        told = [self._how(host) for host in changed]
        began = time.perf_counter()
        new, old_s = self._plan_for(measured)
        self.planning_s = time.perf_counter() - began
        if new is None:
            self.watch.leave()
            return [*told, "no new plan: none fits"]
        leaving = leaving_bytes(self.conductor.plan, replace(self.conductor.crew, plan=new))
        crowded = crowded_ranks(new, leaving)
        if crowded:
            self.watch.leave()
            return [*told, f"no new plan: old and new layers would not fit {_ranks(crowded)} at once"]
        cost_s = self._moving_seconds(leaving)
        gain = old_s / new.step_s
        if gain < GAIN or (old_s - new.step_s) * steps_left < cost_s:
            self.watch.leave()
            return [*told, f"no new plan: the best one takes {human_seconds(new.step_s)} a step, {faster_text(gain)}"]
        return [*told, *self._move(new, old_s, cost_s, leaving, measured)]

    def _by_host(self, compute_s: Mapping[int, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for rank, seconds in compute_s.items():
            name = self.grounds.cluster.hosts[rank].name
            found[name] = found.get(name, 0.0) + seconds
        return found

    def _how(self, host: str) -> str:
        ranks = [one.rank for one in self.grounds.cluster.hosts if one.name == host]
        times = self.watch.measured()[host] / self.watch.known.get(host, 1.0)
        return f"{host} ({_ranks(ranks)}) takes {times:.2f} times as long for its layers as was planned or seen before"

    def _plan_for(self, slower: Mapping[int, float]) -> tuple[Plan | None, float]:
        """The best plan for ranks so much slower, and a step of the one at hand."""
        grounds, cluster = self.grounds, self.grounds.with_speeds(slower)
        try:
            new = make_plan(grounds.costs, cluster, grounds.job, grounds.reserved, self.conductor.plan.load_s)
        except PlanError:
            return None, 0.0
        return new, reprice(self.conductor.plan, grounds.costs, cluster, grounds.job, grounds.reserved)

    def _moving_seconds(self, leaving: Mapping[int, int]) -> float:
        bandwidth = min((link.bandwidth for link in self.grounds.cluster.links), default=117e6)
        return MOVING_S + sum(leaving.values()) / bandwidth

    def _move(
        self, new: Plan, old_s: float, cost_s: float, leaving: Mapping[int, int], slower: Mapping[int, float]
    ) -> list[str]:
        old, size = self.conductor.plan, sum(leaving.values())
        moving = [i for i in range(len(old.layers)) if old.rank_of(i) != new.rank_of(i)]
        self.before_moving()
        for rank, needed in bytes_while_moving(new, leaving).items():
            self.planned_bytes[rank] = max(self.planned_bytes.get(rank, 0), needed)
        began = time.perf_counter()
        self.conductor.move(new)
        taken = time.perf_counter() - began
        self.slower = dict(slower)
        self.watch = watch_plan(new, known=True)
        self.promise = Promise(new.step_s, median(self.before_s))
        self.before_s.clear()
        return [
            f"a new plan: {human_seconds(new.step_s)} a step in place of {human_seconds(old_s)}, "
            f"{faster_text(old_s / new.step_s)}, {new.schedule}; moving should take {human_seconds(cost_s)}",
            f"moved {plural(len(moving), 'layer')} ({human_bytes(size)}) in {human_seconds(taken)}",
        ]


def watch_plan(plan: Plan, known: bool = False) -> Watch[str]:
    """A watch over the plan's hosts; `known` where the plan was made from what was measured in this run.

    A host under a CPU quota takes any time between that without the quota, and that of a core which is always as slow
    as the quota says.
    """
    unlimited = replace(plan, stages=tuple(replace(one, cores=0.0) if one.period_s else one for one in plan.stages))
    always_slow = replace(plan, stages=tuple(replace(one, period_s=0.0) for one in plan.stages))
    least_s, most_s = planned_seconds(unlimited), planned_seconds(always_slow)
    return Watch(least_s, dict.fromkeys(least_s, 1.0) if known else None, most_s)


def planned_seconds(plan: Plan) -> dict[str, float]:
    """Worker seconds of F, I and W in a full step, by host, while its ranks compete for its cores."""
    found: dict[str, float] = {}
    for span in simulate_plan(plan).spans:
        if span.action.kind in (Kind.F, Kind.I, Kind.W):
            host = plan.stages[plan.placement[span.lane][0]].host
            found[host] = found.get(host, 0.0) + span.end_s - span.start_s
    return found


def bytes_while_moving(new: Plan, leaving: Mapping[int, int]) -> dict[int, int]:
    """By rank, its stages of the new plan and, until those have come, what leaves it."""
    return {rank: sum(new.stages[s].bytes for s in new.stages_of(rank)) + leaving.get(rank, 0) for rank in new.lanes}


def crowded_ranks(new: Plan, leaving: Mapping[int, int]) -> list[int]:
    """Ranks that have no room for their stages of the new plan and, until those have come, for what leaves them."""
    needed = bytes_while_moving(new, leaving)
    return [rank for rank in new.lanes if needed[rank] > new.stages[new.stages_of(rank)[0]].available_bytes]


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
