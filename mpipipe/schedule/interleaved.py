"""Interleaved 1F1B: several chunks a rank, so that filling and draining take less (Narayanan et al. 2021, section 2.2).

Micro-batches go in groups of p through all chunks; a rank does a forward and a backward in turn once it has begun
2(p - 1 - r) + (v - 1)p. Where m is no multiple of p, or a limit is below p, groups are smaller, and the classic order
would have ranks wait for each other for ever. So the order is found by time steps in which every rank does one forward
or backward of a chunk, a backward where its next forward has not come. Where m is a multiple of p it takes no longer
than the classic order, a v-th of the bubble of 1F1B, and has no more in flight.
"""

from mpipipe.schedule.actions import Action, Kind, Lane, Pipeline, Schedule
from mpipipe.schedule.peaks import stage_peaks


def interleaved(pipeline: Pipeline) -> Schedule:
    """No stage exceeds its limit; what each reaches is its `in_flight`."""
    made = _Steps(pipeline).run()
    limits = tuple(in_flight for in_flight, _ in stage_peaks(made, pipeline.placement))
    return Schedule("interleaved", pipeline.micros, limits, made, pipeline.placement)


def _in_groups(kind: Kind, micros: int, group: int, chunks: list[int]) -> list[Action]:
    groups = [range(start, min(start + group, micros)) for start in range(0, micros, group)]
    return [Action(kind, micro, chunk) for some in groups for chunk in chunks for micro in some]


class _Steps:
    """`forwards` and `backwards` are what each lane is to do; `done` counts what each stage did of a kind."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, placement, lanes = pipeline, pipeline.placement, len(pipeline.placement)
        # A group waits in one chunk until the next takes it; behind the last chunk of any lane none has to wait.
        group = min(lanes, pipeline.micros, *pipeline.limits[: max(0, pipeline.stages - lanes)])
        chunks = [list(range(len(held))) for held in placement]
        self.forwards = [_in_groups(Kind.F, pipeline.micros, group, each) for each in chunks]
        self.backwards = [_in_groups(Kind.B, pipeline.micros, group, each[::-1]) for each in chunks]
        # A rank with a chunk less also waits for the group: its gradients would have nowhere to go before.
        most = max(map(len, placement))
        self.ahead = [2 * (lanes - 1 - r) + (most - 1) * group + 1 for r in range(lanes)]
        self.made: list[list[Action]] = [[] for _ in placement]
        self.begun = [{Kind.F: 0, Kind.B: 0} for _ in placement]
        self.done = [{Kind.F: 0, Kind.B: 0} for _ in range(pipeline.stages)]

    def run(self) -> tuple[Lane, ...]:
        while True:
            step = [(lane, self._choose(lane)) for lane in range(len(self.made))]
            for lane, action in step:
                if action is not None:
                    self.made[lane].append(action)
                    self.begun[lane][action.kind] += 1
                    self.done[self.pipeline.placement[lane][action.chunk]][action.kind] += 1
            if all(action is None for _, action in step):
                return tuple(map(tuple, self.made))

    def _choose(self, lane: int) -> Action | None:
        begun, held = self.begun[lane], self.pipeline.placement[lane]
        if begun[Kind.F] < len(self.forwards[lane]) and begun[Kind.F] - begun[Kind.B] < self.ahead[lane]:
            action = self.forwards[lane][begun[Kind.F]]
            stage = held[action.chunk]
            came = not stage or self.done[stage - 1][Kind.F] > action.micro
            if came and self.done[stage][Kind.F] - self.done[stage][Kind.B] < self.pipeline.limits[stage]:
                return action
        if begun[Kind.B] < len(self.backwards[lane]):
            action = self.backwards[lane][begun[Kind.B]]
            stage = held[action.chunk]
            last = stage == self.pipeline.stages - 1
            if self.done[stage][Kind.F] > action.micro and (last or self.done[stage + 1][Kind.B] > action.micro):
                return action
        return None
