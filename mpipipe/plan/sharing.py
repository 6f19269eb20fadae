"""Ranks that share the cores of one host: by how much that slows them down, and what a simulation must know of it.

Seconds of layers are those of a thread with a core of its own. Where the workers of a host outnumber its cores (more
ranks than cores, a CPU quota), the simulation lets them compete; the search, which looks at one host at a time, takes
each rank as slow as if all ranks of its host worked all the time.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.problem import Problem
from mpipipe.schedule import Cores, StageCost

TASK_S = 30e-6
"""Seconds that each task costs besides its work: the queue, the schedule, the first touch of numpy."""
MAIN_S, PART_MAIN_S = 0.3e-3, 1.5e-3
"""And what a rank's main thread takes of a core for each task, its messages and its looks, which counts where no core
is free. Beside eight others, with a tenth to a quarter of a core each, it finds nothing in the caches."""


@dataclass(frozen=True)
class Place:
    """A rank: its threads, and the cores that all ranks of its `pool` have together (0: one for each thread), by a CPU
    quota that is renewed after `period_s` (0: without one)."""

    pool: Hashable
    threads: int
    cores: float
    period_s: float = 0.0


def shared_cores(places: Sequence[Place]) -> tuple[Cores, ...]:
    """Of ranks in lanes of this order, those that share fewer cores than they have threads."""
    lanes: dict[Hashable, list[int]] = {}
    for lane, place in enumerate(places):
        lanes.setdefault(place.pool, []).append(lane)
    return tuple(
        Cores(places[held[0]].cores, tuple(held), places[held[0]].period_s)
        for held in lanes.values()
        if 0 < places[held[0]].cores < sum(places[lane].threads for lane in held)
    )


def task_overheads(places: Sequence[Place]) -> list[float]:
    """Seconds that each task of a rank takes besides its work."""
    threads: dict[Hashable, int] = {}
    for place in places:
        threads[place.pool] = threads.get(place.pool, 0) + place.threads
    main_s = [PART_MAIN_S if place.period_s and place.cores < 1 else MAIN_S for place in places]
    crowded = [0 < place.cores <= threads[place.pool] for place in places]
    return [TASK_S + seconds * counts for seconds, counts in zip(main_s, crowded, strict=True)]


def slowdowns(places: Sequence[Place]) -> list[float]:
    """How many times as long each rank takes while all ranks of its host work."""
    found = [1.0] * len(places)
    for cores in shared_cores(places):
        for lane in cores.lanes:
            found[lane] = sum(places[other].threads for other in cores.lanes) / cores.count
    return found


def slowed_cost(cost: StageCost, slowdown: float, sleeping: float) -> StageCost:
    """The seconds of a stage whose rank is so many times as slow, but for the part that it sleeps."""
    factor = slowdown * (1 - sleeping) + sleeping
    return StageCost(cost.forward_s * factor, cost.input_s * factor, cost.weight_s * factor)


def slowed_problem(problem: Problem) -> Problem:
    """As the search sees it: all ranks of each host at work at once."""
    if problem.cores is None:
        return problem
    slower = np.array(slowdowns(places_of(problem, range(problem.hosts))))
    if (slower == 1).all():
        return problem
    sleeping = problem.sleeping_parts
    factor: Array = slower[:, None] * (1 - sleeping) + sleeping
    return replace(
        problem,
        forward_s=problem.forward_s * factor,
        input_s=problem.input_s * factor,
        weight_s=problem.weight_s * factor,
        cores=None,
    )


def places_of(problem: Problem, hosts: Sequence[int]) -> list[Place]:
    """Of some hosts (ranks) of a problem."""
    machine, cores, threads = problem.machine, problem.cores, problem.threads
    if machine is None or cores is None:
        return [Place(host, int(threads[host]), 0.0) for host in hosts]
    period_s = np.zeros(problem.hosts) if problem.period_s is None else problem.period_s
    return [Place(int(machine[host]), int(threads[host]), float(cores[host]), float(period_s[host])) for host in hosts]
