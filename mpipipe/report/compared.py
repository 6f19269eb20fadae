"""What a plan foretold, next to what was measured: by stage, by link, and of the whole step."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median

from mpipipe.layers import Array
from mpipipe.plan.pipeline import pipeline_of
from mpipipe.plan.simulated import simulate_plan
from mpipipe.plan.types import Plan
from mpipipe.report.timeline import BEGAN, CHUNK, ENDED, KIND, KINDS, MICRO, Timeline
from mpipipe.schedule import Kind, lane_of

Rows = dict[int, Array]


@dataclass(frozen=True)
class Pair:
    """Seconds, or a fraction, as foretold and as measured: the median over the steps that were kept."""

    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Measured over predicted; infinite where nothing was foretold."""
        return self.measured / self.predicted if self.predicted else float("inf")


@dataclass(frozen=True)
class StageTimes:
    """Of one stage: seconds of one thread for a micro-batch, and the fraction of its workers' time at work."""

    stage: int
    rank: int
    forward: Pair
    input: Pair
    weight: Pair
    busy: Pair


@dataclass(frozen=True)
class LinkTimes:
    """Of one message from a stage to another: from when both ends were ready to when it had been received."""

    sender: int
    receiver: int
    seconds: Pair


@dataclass(frozen=True)
class Comparison:
    """The whole: `step` from the first action to the last (the update comes after), `bubble` of workers' time."""

    stages: tuple[StageTimes, ...]
    links: tuple[LinkTimes, ...]
    step: Pair
    bubble: Pair
    steps: int


def compare_timeline(timeline: Timeline, step: int | None = None) -> Comparison:
    """Over all kept steps but the first, in which everything is touched for the first time; or over one."""
    plan = timeline.plan
    kept = [timeline.steps[step]] if step is not None else list(timeline.steps.values())[1:]
    kept = kept or list(timeline.steps.values())
    simulation = simulate_plan(plan)
    spans = [span_s(rows) for rows in kept]
    threads = sum(plan.stages[held[0]].threads for held in plan.placement)
    busy = [1 - _busy(rows) / (threads * whole) for rows, whole in zip(kept, spans, strict=True)]
    foretold = 1 - sum(simulation.busy_s) / (threads * simulation.end_s)
    return Comparison(
        tuple(_stage_times(plan, s, kept, spans, simulation.end_s) for s in range(len(plan.stages))),
        tuple(_link_times(plan, kept)),
        Pair(simulation.end_s, median(spans)),
        Pair(foretold, median(busy)),
        len(kept),
    )


def span_s(rows: Rows) -> float:
    """Seconds from the first action to the last of F, I and W."""
    tasks = [array[_is(array, Kind.F, Kind.I, Kind.W)] for array in rows.values()]
    return max(float(each[:, ENDED].max()) for each in tasks if len(each))


def _busy(rows: Rows) -> float:
    tasks = (array[_is(array, Kind.F, Kind.I, Kind.W)] for array in rows.values())
    return sum(float((each[:, ENDED] - each[:, BEGAN]).sum()) for each in tasks)


def _stage_times(plan: Plan, s: int, kept: list[Rows], spans: list[float], end_s: float) -> StageTimes:
    stage, cost = plan.stages[s], pipeline_of(plan, plan.batch).costs[s]
    chunk = lane_of(plan.placement)[s][1]

    def seconds(rows: Rows, kind: Kind) -> float:
        mine = rows[stage.rank]
        mine = mine[_is(mine, kind) & (mine[:, CHUNK] == chunk)]
        return float((mine[:, ENDED] - mine[:, BEGAN]).sum()) / plan.micros

    def pair(predicted: float, kind: Kind) -> Pair:
        return Pair(predicted, median(seconds(rows, kind) for rows in kept))

    forward, back, weight = pair(cost.forward_s, Kind.F), pair(cost.input_s, Kind.I), pair(cost.weight_s, Kind.W)
    work = (cost.forward_s + cost.input_s + cost.weight_s) * plan.micros / stage.threads
    done = [
        sum(seconds(rows, kind) for kind in (Kind.F, Kind.I, Kind.W)) * plan.micros / stage.threads / whole
        for rows, whole in zip(kept, spans, strict=True)
    ]
    return StageTimes(s, stage.rank, forward, back, weight, Pair(work / end_s, median(done)))


def _link_times(plan: Plan, kept: list[Rows]) -> Iterable[LinkTimes]:
    places = lane_of(plan.placement)
    for s in range(len(plan.stages) - 1):
        for sender, receiver, out, back in (
            (s, s + 1, Kind.SEND_ACT, Kind.RECV_ACT),
            (s + 1, s, Kind.SEND_GRAD, Kind.RECV_GRAD),
        ):
            ends = (plan.stages[sender].rank, places[sender][1]), (plan.stages[receiver].rank, places[receiver][1])
            predicted = plan.stages[s].latency_s + plan.stages[s].wire_s
            found = [fmean(each) for rows in kept if (each := list(_transfers(rows, *ends, out, back)))]
            if found:
                yield LinkTimes(sender, receiver, Pair(predicted, median(found)))


def _transfers(
    rows: Rows, sender: tuple[int, int], receiver: tuple[int, int], out: Kind, back: Kind
) -> Iterable[float]:
    """Seconds of each micro-batch's message, from when both ends had been posted."""
    sends, receives = _by_micro(rows[sender[0]], out, sender[1]), _by_micro(rows[receiver[0]], back, receiver[1])
    for micro, (posted, _) in sends.items():
        if micro in receives:
            ready, received = receives[micro]
            yield max(0.0, received - max(posted, ready))


def _by_micro(array: Array, kind: Kind, chunk: int) -> dict[int, tuple[float, float]]:
    mine = array[_is(array, kind) & (array[:, CHUNK] == chunk)]
    return {int(row[MICRO]): (float(row[BEGAN]), float(row[ENDED])) for row in mine}


def _is(array: Array, *kinds: Kind) -> Array:
    found: Array = array[:, KIND] == KINDS.index(kinds[0])
    for kind in kinds[1:]:
        found = found | (array[:, KIND] == KINDS.index(kind))
    return found
