"""Tasks that share the cores of a host: all go on at one pace, so one clock that runs at that pace times them all.

    cores = 2, tasks a, b, c of 3 s each; c begins at 1 s

    seconds   0     1                    4              5
    at work   a b   a b c                c (a, b end)   c ends
    pace      1     2/3                  1
    clock     0     1      1 + 2/3 * 3 = 3              4       a and b are due at 3 on this clock, c at 1 + 3 = 4

A task is due when the clock has gone on by as much as the task takes. The clock's pace changes only when a task begins
or ends, so the next end is known until then (virtual time of a fair queue; Parekh and Gallager 1993).
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf


@dataclass(frozen=True)
class Cores:
    """How many cores the workers of `lanes` have together, a fraction under a CPU quota."""

    count: float
    lanes: tuple[int, ...]


@dataclass(frozen=True)
class Hosts:
    """What lanes have of the hosts they are on. Lanes that no `cores` names have a core for each worker.

    `sleeping[stage]` is the part of its tasks' seconds that needs no core; without it there is none. The workers of
    lane `feeder` load the samples, `load_s` for each micro-batch; -1: samples are there at once.
    """

    cores: tuple[Cores, ...] = ()
    sleeping: tuple[float, ...] = ()
    feeder: int = -1
    load_s: float = 0.0


class SharedCores:
    """The tasks at work on a host. `due_s` is when the next one ends, infinite where none is at work."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.clock = self.now_s = 0.0
        self.pace = 1.0
        self.due_s = inf
        self.tasks: list[tuple[float, int]] = []
        """When each is due on the clock, and its number."""

    def begin(self, now_s: float, seconds: float, task: int) -> None:
        """A task that takes so many seconds of a core."""
        self._go_on(now_s)
        heappush(self.tasks, (self.clock + seconds, task))
        self._look_ahead()

    def end(self, now_s: float) -> int:
        """The number of the task that is due now."""
        self._go_on(now_s)
        _, task = heappop(self.tasks)
        self._look_ahead()
        return task

    def _go_on(self, now_s: float) -> None:
        self.clock += self.pace * (now_s - self.now_s)
        self.now_s = now_s

    def _look_ahead(self) -> None:
        self.pace = min(1.0, self.cores / len(self.tasks)) if self.tasks else 1.0
        self.due_s = self.now_s + max(0.0, self.tasks[0][0] - self.clock) / self.pace if self.tasks else inf
