"""List scheduling: the lanes that come out when every worker takes the most urgent task that it may begin.

An event simulation of the pipeline's own costs, messages and threads. First of all comes I, for others wait for it;
then F, as long as the limit allows; then W, for which nobody waits but the stage's own limits: it fills the gaps. It
ends for any limits: a micro-batch never waits for one behind it. What is urgent does not depend on the limits, so the
limits that were reached make the same lanes again; ties go to the older micro-batch, then to the later chunk, and all
ranks find the same.
"""

import heapq
from collections.abc import Sequence

from mpipipe.schedule.actions import Action, Kind, Pipeline, Schedule, lane_of

URGENCY = (Kind.I, Kind.F, Kind.W)


def greedy(name: str, pipeline: Pipeline, pools: Sequence[int] = ()) -> Schedule:
    """`pools[lane]` bounds what the chunks of a lane have in flight together; the last chunk is always left room."""
    return _Workers(name, pipeline, pools).run()


class _Workers:
    """`ready`, `begun` and `ended` count, for every stage, the micro-batches whose F, I or W may begin or did."""

    def __init__(self, name: str, pipeline: Pipeline, pools: Sequence[int]) -> None:
        self.name, self.pipeline, self.pools = name, pipeline, pools
        stages = range(pipeline.stages)
        self.lane = [lane for lane, _ in lane_of(pipeline.placement)]
        self.costs = [{Kind.F: c.forward_s, Kind.I: c.input_s, Kind.W: c.weight_s} for c in pipeline.costs]
        self.held = pipeline.gradients or pipeline.limits
        self.ready = [dict.fromkeys(URGENCY, 0) for _ in stages]
        self.begun = [dict.fromkeys(URGENCY, 0) for _ in stages]
        self.ended = [0 for _ in stages]
        self.most = [0 for _ in stages]
        self.free = list(pipeline.threads)
        self.lanes: list[list[Action]] = [[] for _ in pipeline.placement]
        self.events: list[tuple[float, bool, int, Kind]] = []

    def run(self) -> Schedule:
        self.ready[0][Kind.F] = self.pipeline.micros
        now, events, touched = 0.0, self.events, set(range(len(self.lanes)))
        while touched:
            for lane in sorted(touched):
                self._begin(lane, now)
            touched = set()
            now = events[0][0] if events else now
            while events and events[0][0] == now:
                _, arrives, stage, kind = heapq.heappop(events)
                touched.add(self.lane[stage])
                if arrives:
                    self.ready[stage][kind] += 1
                else:
                    self._end(stage, kind, now)
        lanes = tuple(map(tuple, self.lanes))
        return Schedule(self.name, self.pipeline.micros, tuple(self.most), lanes, self.pipeline.placement)

    def _begin(self, lane: int, now: float) -> None:
        while self.free[lane]:
            urgent = self._most_urgent(lane)
            if urgent is None:
                return
            kind, micro, chunk = urgent
            stage = self.pipeline.placement[lane][chunk]
            self.lanes[lane].append(Action(kind, micro, chunk))
            self.begun[stage][kind] += 1
            if kind == Kind.F:
                self.most[stage] = max(self.most[stage], self._flying(stage))
            self.free[lane] -= 1
            heapq.heappush(self.events, (now + self.costs[stage][kind], False, stage, kind))

    def _most_urgent(self, lane: int) -> Action | None:
        for kind in URGENCY:
            found = None
            for chunk, stage in enumerate(self.pipeline.placement[lane]):
                micro = self.begun[stage][kind]
                waits = micro < self.ready[stage][kind] and (found is None or micro <= found.micro)
                if waits and self._has_room(stage, kind):
                    found = Action(kind, micro, chunk)
            if found is not None:
                return found
        return None

    def _has_room(self, stage: int, kind: Kind) -> bool:
        begun = self.begun[stage]
        if kind == Kind.F:
            return self._flying(stage) < self.pipeline.limits[stage] and self._pool_has_room(stage)
        return kind == Kind.W or begun[Kind.I] - begun[Kind.W] < self.held[stage]

    def _pool_has_room(self, stage: int) -> bool:
        if not self.pools:
            return True
        lane = self.lane[stage]
        chunks = self.pipeline.placement[lane]
        return sum(map(self._flying, chunks)) + (stage != chunks[-1]) < self.pools[lane]

    def _flying(self, stage: int) -> int:
        return self.begun[stage][Kind.F] - self.ended[stage]

    def _end(self, stage: int, kind: Kind, now: float) -> None:
        self.free[self.lane[stage]] += 1
        message_s, last = self.pipeline.message_s, self.pipeline.stages - 1
        if kind == Kind.W:
            self.ended[stage] += 1
        elif kind == Kind.I:
            self.ready[stage][Kind.W] += 1
            if stage:
                heapq.heappush(self.events, (now + message_s[stage - 1], True, stage - 1, Kind.I))
        elif stage < last:
            heapq.heappush(self.events, (now + message_s[stage], True, stage + 1, Kind.F))
        else:
            self.ready[stage][Kind.I] += 1
