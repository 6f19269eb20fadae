"""Planning anew while training, on rank 0: hosts that turn out slower, or faster again, than they were planned for.

After each full step the ranks' working seconds are looked at. Once some rank has changed for a while, the plan is made
again from what was measured; if it gains enough, for long enough to pay for moving the layers, they are moved between
two steps. What was found and done is said either way.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mpipipe.errors import PlanError
from mpipipe.job import Job
from mpipipe.layers import LayerCost, layer_costs
from mpipipe.plan import Plan, make_plan, reprice
from mpipipe.plan.watch import Watch
from mpipipe.report import human_bytes, human_seconds, plural
from mpipipe.resources import Cluster, slowed
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.move import leaving_bytes
from mpipipe.start import conductor_bytes

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


class Replanner:
    """Watches the steps of one run. `before_moving` is called before a plan is replaced."""

    def __init__(self, conductor: Conductor, cluster: Cluster, before_moving: Callable[[], None]) -> None:
        self.conductor, self.before_moving = conductor, before_moving
        job, model = conductor.crew.job, conductor.crew.model
        self.grounds = Grounds(layer_costs(model, job.train), cluster, job, conductor_bytes(model, job.train))
        self.slower: dict[int, float] = {}
        self.watch = Watch(planned_seconds(conductor.plan))
        self.planning_s = 0.0

    @property
    def is_of_use(self) -> bool:
        """Whether another plan could be chosen at all."""
        plan = self.conductor.plan
        return self.grounds.job.run.replan and not self.grounds.job.plan.cuts and plan.ranks > 1

    def after(self, compute_s: Mapping[int, float], step_s: float, steps_left: int) -> list[str]:
        """After a full step: what there is to tell, if anything was decided."""
        if not self.is_of_use:
            return []
        self.watch.add(compute_s)
        changed = self.watch.changed()
        if not changed or steps_left * step_s < 2 * (MOVING_S + self.planning_s):
            return []
        measured = {rank: self.slower.get(rank, 1.0) * times for rank, times in self.watch.measured().items()}
        told = [f"{_ranks(changed)} now: {self._how(changed)}"]
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
            return [*told, f"no new plan: the best one takes {human_seconds(new.step_s)} a step, {gain - 1:.0%} faster"]
        return [*told, *self._move(new, old_s, (cost_s, sum(leaving.values())), measured)]

    def _how(self, changed: Sequence[int]) -> str:
        times = self.watch.measured()
        each = [times[rank] / self.watch.known.get(rank, 1.0) for rank in changed]
        return ", ".join(f"{one:.2f} times as long a step as before" for one in each)

    def _plan_for(self, slower: Mapping[int, float]) -> tuple[Plan | None, float]:
        """The best plan for ranks so much slower, and a step of the one at hand."""
        grounds, cluster = self.grounds, self.grounds.with_speeds(slower)
        try:
            new = make_plan(grounds.costs, cluster, grounds.job, grounds.reserved)
        except PlanError:
            return None, 0.0
        return new, reprice(self.conductor.plan, grounds.costs, cluster, grounds.job, grounds.reserved)

    def _moving_seconds(self, leaving: Mapping[int, int]) -> float:
        bandwidth = min((link.bandwidth for link in self.grounds.cluster.links), default=117e6)
        return MOVING_S + sum(leaving.values()) / bandwidth

    def _move(self, new: Plan, old_s: float, cost: tuple[float, int], slower: Mapping[int, float]) -> list[str]:
        old, (cost_s, size) = self.conductor.plan, cost
        moving = [i for i in range(len(old.layers)) if old.rank_of(i) != new.rank_of(i)]
        self.before_moving()
        began = time.perf_counter()
        self.conductor.move(new)
        taken = time.perf_counter() - began
        self.slower = dict(slower)
        ranks = dict.fromkeys(new.lanes, 1.0)
        self.watch = Watch(planned_seconds(new), ranks)
        return [
            f"a new plan: {human_seconds(new.step_s)} a step in place of {human_seconds(old_s)}, "
            f"{old_s / new.step_s - 1:.0%} faster, {new.schedule}; moving was reckoned at {human_seconds(cost_s)}",
            f"moved {plural(len(moving), 'layer')} ({human_bytes(size)}) in {human_seconds(taken)}",
        ]


def planned_seconds(plan: Plan) -> dict[int, float]:
    """Worker seconds of F, I and W in a full step, by rank."""
    found: dict[int, float] = {}
    for stage in plan.stages:
        each = stage.forward_s * (1 + stage.recompute) + stage.input_s + stage.weight_s
        found[stage.rank] = found.get(stage.rank, 0.0) + plan.micros * each
    return found


def crowded_ranks(new: Plan, leaving: Mapping[int, int]) -> list[int]:
    """Ranks that have no room for their stages of the new plan and, until those have come, for what leaves them."""
    return [
        rank
        for rank in new.lanes
        if sum(new.stages[s].bytes for s in new.stages_of(rank)) + leaving.get(rank, 0)
        > new.stages[new.stages_of(rank)[0]].available_bytes
    ]


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
