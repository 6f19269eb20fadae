"""Tasks that share the cores of a host: all go on at one pace, so one clock that runs at that pace times them all.

    cores = 2, tasks a, b, c of 3 s each; c begins at 1 s

    seconds   0     1                    4              5
    at work   a b   a b c                c (a, b end)   c ends
    pace      1     2/3                  1
    clock     0     1      1 + 2/3 * 3 = 3              4       a and b are due at 3 on this clock, c at 1 + 3 = 4

A task is due when the clock has gone on by as much as the task takes. The clock's pace changes only when a task begins
or ends, so the next end is known until then (virtual time of a fair queue; Parekh and Gallager 1993).

A CPU quota is no slow core: a task goes on at full speed until what the quota allows is used up, and then stands still
until the next period (Linux, "CFS Bandwidth Control").

    quota 1/10 of a core, period 100 ms; a takes 4 ms, b 12 ms, both begin at 0 on one worker

    ms        0    4        10                   100      106
    at work   a    b        (nothing)            b        (b ends)

So a message comes through hosts that have rested without much delay, while a host that always works is as slow as its
quota says. Were each step simulated with a fresh quota, short ones would never meet it, so a step is at least as long
as its work at the quota's rate.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf

GOLDEN = 0.618
"""Periods of different hosts begin at different times. In a simulation each begins this part of one after the host
before, which spreads any number of hosts evenly."""


@dataclass(frozen=True)
class Cores:
    """How many cores the workers of `lanes` have together, a fraction under a CPU quota; `period_s` is the time after
    which the quota is renewed, 0 where there is none."""

    count: float
    lanes: tuple[int, ...]
    period_s: float = 0.0


@dataclass(frozen=True)
class Hosts:
    """What lanes have of the hosts they are on. Lanes that no `cores` names have a core for each worker.

    `sleeping[stage]` is the part of its tasks' seconds that needs no core; without it there is none. The workers of
    lane `feeder` load the samples, `load_s` for each micro-batch; -1: samples are there at once. Before each task of a
    stage its rank spends `overhead_s[stage]`, which takes a core too but is no work of the task; without it, nothing.
    """

    cores: tuple[Cores, ...] = ()
    sleeping: tuple[float, ...] = ()
    feeder: int = -1
    load_s: float = 0.0
    overhead_s: tuple[float, ...] = ()


class SharedCores:
    """The tasks at work on a host. `due_s` is when the next one ends, infinite where none is at work; `spent_s` is CPU
    time until now. The first period of a quota ends at `phase` of a whole one."""

    def __init__(self, cores: float, period_s: float = 0.0, phase: float = 1.0) -> None:
        self.cores = float(ceil(cores)) if period_s else cores
        self.period_s, self.quota_s = period_s, cores * period_s
        self.clock = self.now_s = self.spent_s = 0.0
        self.pace = 1.0
        self.due_s = inf
        self.renewed_s = phase * period_s if period_s else inf
        """When the next period begins."""
        self.left_s = phase * self.quota_s if period_s else inf
        """CPU time that the quota allows until then."""
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
        if now_s >= self.renewed_s:
            self._run(self.renewed_s - self.now_s)
            periods = int((now_s - self.renewed_s) / self.period_s)
            self.now_s = self.renewed_s + periods * self.period_s
            self.left_s = inf
            self._spend(periods * min(self.quota_s, self._rate() * self.period_s))
            self.left_s, self.renewed_s = self.quota_s, self.now_s + self.period_s
        self._run(now_s - self.now_s)
        self.now_s = now_s

    def _rate(self) -> float:
        """Cores at work while the quota lasts."""
        return self.pace * len(self.tasks)

    def _run(self, seconds: float) -> None:
        """Within one period."""
        self._spend(min(self.left_s, self._rate() * seconds))

    def _spend(self, cpu_s: float) -> None:
        if self.tasks:
            self.clock += cpu_s / len(self.tasks)
        self.left_s -= cpu_s
        self.spent_s += cpu_s

    def _look_ahead(self) -> None:
        self.pace = min(1.0, self.cores / len(self.tasks)) if self.tasks else 1.0
        self.due_s = self._due() if self.tasks else inf

    def _due(self) -> float:
        rate, cpu_s = self._rate(), max(0.0, self.tasks[0][0] - self.clock) * len(self.tasks)
        now_s, usable_s = self.now_s, min(self.left_s, rate * (self.renewed_s - self.now_s))
        if cpu_s > usable_s:
            each_s = min(self.quota_s, rate * self.period_s)
            cpu_s -= usable_s
            whole = max(0, ceil(cpu_s / each_s) - 1)
            now_s, cpu_s = self.renewed_s + whole * self.period_s, cpu_s - whole * each_s
        return now_s + cpu_s / rate
