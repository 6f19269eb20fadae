"""What a plan foretold, next to what was measured: by stage, by link, and of the whole step.

Both are steps of one form, and every figure is found by one function for the two of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

from mpipipe.layers import Array
from mpipipe.plan.types import Plan
from mpipipe.report.timeline import BEGAN, CHUNK, ENDED, KIND, KINDS, MICRO, Rows, Timeline, foretold
from mpipipe.schedule import Kind, lane_of

WORK = (Kind.F, Kind.I, Kind.W)


class Message(NamedTuple):
    """One message from a stage to its neighbour: when both ends had been ready, and when it had been received."""

    sender: int
    receiver: int
    micro: int
    ready_s: float
    received_s: float


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
    host: str
    forward: Pair
    input: Pair
    weight: Pair
    busy: Pair


@dataclass(frozen=True)
class LinkTimes:
    """Of the messages from a stage to another: the mean, from when both ends were ready to when it was received."""

    sender: int
    receiver: int
    seconds: Pair


@dataclass(frozen=True)
class Comparison:
    """The whole: `step` from the first action to the last (the update comes after), `bubble` of workers' time.

    `unsure_s` is how far off the clock of a rank may be from that of rank 0.
    """

    stages: tuple[StageTimes, ...]
    links: tuple[LinkTimes, ...]
    step: Pair
    bubble: Pair
    steps: int
    unsure_s: float


def compare_timeline(timeline: Timeline, step: int | None = None) -> Comparison:
    """Over all kept steps but the first, in which everything is touched for the first time; or over one."""
    plan = timeline.plan
    kept = [timeline.steps[step]] if step is not None else list(timeline.steps.values())[1:]
    kept = kept or list(timeline.steps.values())
    before = foretold(plan)

    def pair(figure: Callable[[Rows], float]) -> Pair:
        return Pair(figure(before), median(map(figure, kept)))

    def stage_times(s: int) -> StageTimes:
        stage = plan.stages[s]

        def of(kind: Kind) -> Pair:
            return pair(lambda rows: _work_s(plan, s, rows, kind) / plan.micros)

        busy = pair(lambda rows: _work_s(plan, s, rows, *WORK) / stage.threads / span_s(rows))
        return StageTimes(s, stage.rank, stage.host, of(Kind.F), of(Kind.I), of(Kind.W), busy)

    def link_times(sender: int, receiver: int) -> LinkTimes:
        return LinkTimes(sender, receiver, pair(lambda rows: _message_s(plan, rows, sender, receiver)))

    count = len(plan.stages)
    ways = [way for s in range(count - 1) for way in ((s, s + 1), (s + 1, s))]
    return Comparison(
        tuple(stage_times(s) for s in range(count)),
        tuple(link_times(*way) for way in ways),
        pair(span_s),
        pair(lambda rows: bubble_of(plan, rows)),
        len(kept),
        max(timeline.unsure_s.values(), default=0.0),
    )


def span_s(rows: Rows) -> float:
    """Seconds from the first action to the last of F, I and W."""
    return max(float(array[_is(array, *WORK), ENDED].max(initial=0.0)) for array in rows.values())


def bubble_of(plan: Plan, rows: Rows) -> float:
    """The fraction of all workers' time in which they had nothing to do."""
    threads = sum(plan.stages[held[0]].threads for held in plan.placement)
    busy_s = sum(_work_s(plan, s, rows, *WORK) for s in range(len(plan.stages)))
    return 1 - busy_s / (threads * span_s(rows))


def messages(plan: Plan, rows: Rows) -> Iterator[Message]:
    """All messages between stages."""
    for s in range(len(plan.stages) - 1):
        yield from _messages(plan, rows, s, s + 1)
        yield from _messages(plan, rows, s + 1, s)


def _messages(plan: Plan, rows: Rows, sender: int, receiver: int) -> Iterator[Message]:
    ahead = sender < receiver
    sends = _by_micro(plan, rows, sender, Kind.SEND_ACT if ahead else Kind.SEND_GRAD)
    receives = _by_micro(plan, rows, receiver, Kind.RECV_ACT if ahead else Kind.RECV_GRAD)
    for micro, (posted_s, _) in sends.items():
        if micro in receives:
            wanted_s, received_s = receives[micro]
            ready_s = max(posted_s, wanted_s)
            yield Message(sender, receiver, micro, ready_s, max(ready_s, received_s))


def _message_s(plan: Plan, rows: Rows, sender: int, receiver: int) -> float:
    found = [one.received_s - one.ready_s for one in _messages(plan, rows, sender, receiver)]
    return fmean(found) if found else 0.0


def _by_micro(plan: Plan, rows: Rows, stage: int, kind: Kind) -> dict[int, tuple[float, float]]:
    return {int(row[MICRO]): (float(row[BEGAN]), float(row[ENDED])) for row in _of_stage(plan, stage, rows, kind)}


def _work_s(plan: Plan, stage: int, rows: Rows, *kinds: Kind) -> float:
    mine = _of_stage(plan, stage, rows, *kinds)
    return float((mine[:, ENDED] - mine[:, BEGAN]).sum())


def _of_stage(plan: Plan, stage: int, rows: Rows, *kinds: Kind) -> Array:
    array, chunk = rows[plan.stages[stage].rank], lane_of(plan.placement)[stage][1]
    mine: Array = array[_is(array, *kinds) & (array[:, CHUNK] == chunk)]
    return mine


def _is(array: Array, *kinds: Kind) -> Array:
    found: Array = array[:, KIND] == KINDS.index(kinds[0])
    for kind in kinds[1:]:
        found = found | (array[:, KIND] == KINDS.index(kind))
    return found
