"""What a way to run the job costs: does it fit every host's memory, and how long is its step, by simulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.plan.limits import Limits
from mpipipe.plan.memory import shared_scratch, stage_bytes, usual_gradients
from mpipipe.plan.problem import Problem, StageChoice
from mpipipe.plan.reckon import Ground
from mpipipe.plan.sharing import places_of, shared_cores, slowdowns, slowed_cost, slowed_problem, task_overheads
from mpipipe.plan.task_costs import boundary_transfers, stage_cost, task_seconds, transfer, weight_parts
from mpipipe.schedule import (
    SCHEDULES,
    Hosts,
    Pipeline,
    Placement,
    Room,
    Schedule,
    Wiring,
    lane_of,
    lower,
    rooms_of,
    sample_slots,
    simulate,
    whole_graph,
    wire,
)

WIRING, MAKING, FITTING = 3, 5, 20
"""What takes as long as simulating so many nodes: each node of a graph that is made, each task of a schedule that looks
at costs, and finding whether a stage fits."""
SHARING = 3
"""How many times as long a node takes where ranks share cores."""
SETTLING = 4
"""How often a schedule is made for the stages that recompute with the one before, until they are the same."""
KEPT_NODES = 200_000
"""Nodes of graphs that are kept at the most, at half a kilobyte or so each."""
COUNTED = ("gpipe", "1f1b", "interleaved")
"""Schedules that look at numbers of stages and limits only."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the job, with its simulated step. Stages are in pipeline order; a host may hold several."""

    schedule: str
    stages: tuple[StageChoice, ...]
    wanted: Limits
    in_flight: tuple[int, ...]
    gradients: tuple[int, ...]
    bytes: tuple[int, ...]
    step_s: float
    bubble: float


def placement_of(stages: Sequence[StageChoice]) -> Placement:
    """The stages of each host, hosts in the order of their first ones."""
    hosts = dict.fromkeys(stage.host for stage in stages)
    return tuple(tuple(s for s, stage in enumerate(stages) if stage.host == host) for host in hosts)


class Prices:
    """Prices on one ground, each worked out once; schedules that look at numbers of stages only are wired once."""

    def __init__(self, ground: Ground, recompute: str = "auto") -> None:
        self.ground, self.recompute = ground, recompute
        self.problem = slowed_problem(ground.problem)
        """As the search sees it; what is simulated is the ground's own."""
        self.made: dict[object, tuple[Schedule, list[Room]]] = {}
        self.wired: dict[object, Wiring] = {}
        self.priced: dict[object, Candidate | None] = {}
        self.nodes = 0
        """Nodes simulated until now, with what else took as long: what the search has cost, 1 us each or so."""

    def of(self, schedule: str, stages: Sequence[StageChoice], wanted: Limits) -> Candidate | None:
        """The candidate, with a stage recomputing only where it must; None where it does not fit."""
        key = (schedule, wanted, tuple((one.host, one.last) for one in stages))
        if key not in self.priced:
            self.priced[key] = self._of(schedule, stages, wanted)
        return self.priced[key]

    def _of(self, schedule: str, stages: Sequence[StageChoice], wanted: Limits) -> Candidate | None:
        # A schedule that looks at costs is another one where stages recompute, and may need other room.
        for _ in range(SETTLING):
            made, gradients = self._made(schedule, stages, wanted)
            fitting = _fitting(self.problem, stages, made.in_flight, gradients, self.recompute)
            self.nodes += FITTING * len(stages)
            if fitting is None:
                return None
            fitted, sizes = fitting
            if schedule in COUNTED or fitted == tuple(stages):
                return self._simulated(made, fitted, wanted, gradients, sizes)
            stages = fitted
        return None

    def schedule(self, name: str, stages: Sequence[StageChoice], wanted: Limits) -> Schedule:
        """The schedule for these stages and limits."""
        return self._made(name, stages, wanted)[0]

    def _made(self, name: str, stages: Sequence[StageChoice], wanted: Limits) -> tuple[Schedule, tuple[int, ...]]:
        """The schedule, with the slots between I and W of each stage: what the order needs, and one more than there are
        threads to keep them busy."""
        placement = placement_of(stages)
        key = (name, placement, wanted)
        if key in self.made:
            made, rooms = self.made[key]
        else:
            made = SCHEDULES[name].make(self._pipeline(stages, placement, wanted))
            rooms = rooms_of(made)
            if name in COUNTED:
                self.made[key] = made, rooms
            else:
                self.nodes += MAKING * 3 * self.problem.micros * len(stages)
        each = zip(rooms, (int(self.problem.threads[stage.host]) for stage in stages), strict=True)
        return made, tuple(max(room.gradients, usual_gradients(room.in_flight, count)) for room, count in each)

    def _pipeline(self, stages: Sequence[StageChoice], placement: Placement, wanted: Limits) -> Pipeline:
        problem = self.ground.problem
        transfers = [transfer(problem, a, b) for a, b in zip(stages, stages[1:], strict=False)]
        slower = slowdowns(places_of(problem, [stages[held[0]].host for held in placement]))
        return Pipeline(
            micros=problem.micros,
            placement=placement,
            limits=wanted,
            costs=tuple(
                slowed_cost(stage_cost(problem, stage), slower[lane], problem.sleeping(stage))
                for stage, (lane, _) in zip(stages, lane_of(placement), strict=True)
            ),
            message_s=tuple(one.latency_s + one.wire_s for one in transfers),
            threads=tuple(int(problem.threads[stages[held[0]].host]) for held in placement),
        )

    def _simulated(
        self,
        made: Schedule,
        stages: Sequence[StageChoice],
        wanted: Limits,
        gradients: tuple[int, ...],
        sizes: tuple[int, ...],
    ) -> Candidate:
        problem = self.ground.problem
        threads = [int(problem.threads[stage.host]) for stage in stages]
        parts = [weight_parts(problem, stage) for stage in stages]
        wiring = self._wiring(made, tuple(map(Room, made.in_flight, gradients, parts)))
        places = places_of(problem, [stages[held[0]].host for held in made.placement])
        overheads = task_overheads(places)
        times = [task_seconds(stage_cost(problem, stage), count) for stage, count in zip(stages, parts, strict=True)]
        transfers = boundary_transfers([transfer(problem, a, b) for a, b in zip(stages, stages[1:], strict=False)])
        workers = [threads[held[0]] for held in made.placement]
        hosts = Hosts(
            shared_cores(places),
            tuple(problem.sleeping(stage) for stage in stages),
            next((lane for lane, held in enumerate(made.placement) if stages[held[0]].host == 0), -1),
            problem.load_s,
            tuple(overheads[lane] for lane, _ in lane_of(made.placement)),
        )
        result = simulate(wiring, times, workers, transfers, hosts=hosts)
        self.nodes += len(wiring.lane) * (SHARING if hosts.cores else 1)
        busy, whole = sum(result.busy_s), sum(workers) * result.end_s
        bubble = max(0.0, 1 - busy / whole) if whole else 0.0
        step_s = result.end_s + self.update_seconds(stages)
        return Candidate(made.name, tuple(stages), wanted, made.in_flight, gradients, sizes, step_s, bubble)

    def update_seconds(self, stages: Sequence[StageChoice]) -> float:
        """Of the slowest computer: all threads of a rank share its norm and update, all ranks its cores."""
        problem = self.ground.problem
        spent = np.zeros(problem.hosts)
        for stage in stages:
            spent[stage.host] += self.ground.update_s[stage.host, stage.first : stage.last].sum()
        slowest = float((spent / problem.threads).max())
        for cores in shared_cores(places_of(problem, range(problem.hosts))):
            slowest = max(slowest, float(spent[list(cores.lanes)].sum() / cores.count))
        return slowest

    def _wiring(self, made: Schedule, rooms: tuple[Room, ...]) -> Wiring:
        key = (made.placement, rooms, made.in_flight if made.name in COUNTED else made.lanes, made.name)
        if key not in self.wired:
            found = self._wire(made, rooms)
            if len(found.lane) + sum(len(one.lane) for one in self.wired.values()) > KEPT_NODES:
                self.wired.clear()
            self.wired[key] = found
        return self.wired[key]

    def _wire(self, made: Schedule, rooms: tuple[Room, ...]) -> Wiring:
        slots = sample_slots(made.micros, rooms[0].in_flight)
        wiring = wire(whole_graph(lower(made, targets=False), rooms, slots))
        self.nodes += WIRING * len(wiring.lane)
        return wiring


def _fitting(
    problem: Problem, stages: Sequence[StageChoice], in_flight: Sequence[int], gradients: Sequence[int], recompute: str
) -> tuple[tuple[StageChoice, ...], tuple[int, ...]] | None:
    """The stages within every host's memory, recomputing from the one that saves most on, and what they take."""
    always = recompute == "always"
    found = [StageChoice(one.host, one.first, one.last, always) for one in stages]
    shared = shared_scratch(problem, stages)
    for host in dict.fromkeys(one.host for one in stages):
        mine = [s for s, one in enumerate(stages) if one.host == host]

        def size(s: int, recompute: bool) -> int:
            one = stages[s]
            choice = StageChoice(one.host, one.first, one.last, recompute)
            return stage_bytes(problem, choice, in_flight[s], gradients[s]) - shared[s]

        room, total = int(problem.room_bytes[host]), sum(size(s, always) for s in mine)
        if total > room and recompute == "auto":
            mine.sort(key=lambda s: size(s, True) - size(s, False))
        for s in mine:
            if total <= room or recompute != "auto":
                break
            if size(s, True) < size(s, False):
                total += size(s, True) - size(s, False)
                found[s] = StageChoice(host, stages[s].first, stages[s].last, True)
        if total > room:
            return None
    each = zip(found, in_flight, gradients, shared, strict=True)
    return tuple(found), tuple(stage_bytes(problem, one, k, g) - less for one, k, g, less in each)
