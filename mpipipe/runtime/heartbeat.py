"""Signs of life: every rank sends rank 0 a tiny message twice a second, so that rank 0 knows who is silent.

They are sent between two looks of whatever a rank's main thread waits for, while its worker threads compute: they cost
no thread and no core. They carry no result and decide none. The last one says that no more will come, so that no
message is under way when MPI is closed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.errors import StallError
from mpipipe.runtime.messages import Patience, RunningTime, Tag, Transport, wait_all

BEAT_S = 0.5
NOTICE_S, NOTICE_STEPS = 5.0, 3
"""A rank that is silent for so long, and for so many predicted steps, is named; again after twice as long, and so
on."""
LAST = -1.0
ASKED = -2.0
"""In the place of the number of tasks: this rank was told to end by TERM."""


def beat_s(stall_s: float) -> float:
    """Seconds between two signs of life: several before a rank counts as silent."""
    return min(BEAT_S, stall_s / 10)


@dataclass(frozen=True)
class Peer:
    """A rank as others know it: its host, its process number there, and its stages."""

    rank: int
    host: str
    pid: int
    stages: tuple[int, ...] = ()

    def __str__(self) -> str:
        stages = f" (stage{'s' * (len(self.stages) > 1)} {', '.join(map(str, self.stages))})" if self.stages else ""
        return f"rank {self.rank} on {self.host}{stages}"

    def has_died(self, host: str, proc: Path = Path("/proc")) -> bool:
        """Whether its process is known, from `host`, to have ended."""
        if host != self.host:
            return False
        try:
            state = (proc / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "ZX"


class Heart:
    """The end that sends: any rank but the coordinator."""

    def __init__(self, transport: Transport, coordinator: int, stall_s: float, clock: Clock = REAL_CLOCK) -> None:
        self.transport, self.coordinator, self.every_s = transport, coordinator, beat_s(stall_s)
        self.clock, self.array = clock, np.zeros(1)
        self.under_way: list[object] = []
        self.asked: Callable[[], bool] = lambda: False
        """Whether this rank was told to end."""
        self.beat_at = self.clock.now() + self.every_s

    def beat(self, tasks: int = 0) -> None:
        """Send a sign of life if one is due and the last has left: this rank has so many `tasks` in hand."""
        if self.clock.now() < self.beat_at or (self.under_way and not self.transport.finished(self.under_way)):
            return
        self._send(ASKED if self.asked() else float(tasks))

    def stop(self, patience: Patience) -> None:
        """Send the last one, and wait until it has left."""
        wait_all(self.transport, self.under_way, patience)
        self._send(LAST)
        wait_all(self.transport, self.under_way, patience)

    def _send(self, value: float) -> None:
        self.array[0] = value
        self.under_way = [self.transport.send(self.array, self.coordinator, Tag.BEAT.of(0))]
        self.beat_at = self.clock.now() + self.every_s


class _Listening:
    """What the coordinator knows of one rank."""

    def __init__(self, peer: Peer, transport: Transport, clock: Clock) -> None:
        self.peer, self.transport = peer, transport
        self.array = np.zeros(1)
        self.silence, self.tasks, self.told_s = RunningTime(clock), 0.0, 0.0
        self.asked = False
        self.request = self._expect()

    def _expect(self) -> object:
        return self.transport.receive(self.array, self.peer.rank, Tag.BEAT.of(0))

    def heard(self) -> bool:
        """Take in one sign of life, if there is one."""
        if self.tasks == LAST or not self.transport.finished([self.request]):
            return False
        value = float(self.array[0])
        self.asked = self.asked or value == ASKED
        self.tasks = 0.0 if value == ASKED else value
        if self.tasks != LAST:
            self.request = self._expect()
        return True


class Watch:
    """The coordinator's end: it names ranks that are silent. `notice` shows a line to the reader."""

    def __init__(
        self,
        transport: Transport,
        peers: Sequence[Peer],
        stall_s: float,
        notice: Callable[[str], None],
        clock: Clock = REAL_CLOCK,
        step_s: float = 0.0,
    ) -> None:
        self.ranks = [_Listening(peer, transport, clock) for peer in peers]
        self.stall_s, self.notice = stall_s, notice
        self.clock, self.look_at = clock, clock.now()
        self.name(peers, step_s)

    def name(self, peers: Sequence[Peer], step_s: float) -> None:
        """The same ranks, with other stages, and with another time of a step as predicted."""
        self.notice_s = min(max(NOTICE_S, NOTICE_STEPS * step_s), self.stall_s / 2)
        for one, peer in zip(self.ranks, peers, strict=True):
            one.peer = peer

    def look(self) -> None:
        """Hear all ranks, now and then. Raises StallError for one that is silent although nothing waits for it: a
        wait ends earlier by itself, and can also say for what it was."""
        if self.clock.now() < self.look_at:
            return
        self.look_at = self.clock.now() + beat_s(self.stall_s) / 2
        for one in self.ranks:
            silent_s = one.silence.seconds()
            if one.heard():
                self._answers(one, silent_s)
            elif silent_s > 2 * self.stall_s and one.tasks != LAST:
                raise StallError(f"{one.peer}: silent for {silent_s:.0f} s")
            elif silent_s > max(self.notice_s, 2 * one.told_s):
                one.told_s = silent_s
                self.notice(f"waiting for {one.peer} for {silent_s:.0f} s")

    def silent(self) -> str:
        """Whom everything waits for: ranks that are silent, or else those that have not ended their tasks."""
        silent = [one for one in self.ranks if one.silence.seconds() > self.stall_s / 2]
        if silent:
            return ", ".join(f"{one.peer}: silent for {one.silence.seconds():.0f} s" for one in silent)
        return ", ".join(f"{one.peer}: {one.tasks:.0f} tasks do not end" for one in self.ranks if one.tasks > 0)

    def asked(self) -> str:
        """Ranks that were told to end."""
        return ", ".join(str(one.peer) for one in self.ranks if one.asked)

    def dead(self, host: str) -> str:
        """Ranks of `host` whose process has ended, as the beginning of a sentence; empty where there is none."""
        dead = [str(one.peer) for one in self.ranks if one.peer.has_died(host)]
        return f"{', '.join(dead)}: its process was killed or ended by itself; " if dead else ""

    def close(self, patience: Patience) -> None:
        """Wait for the last sign of life of every rank."""
        while any(one.tasks != LAST for one in self.ranks):
            heard = [one.heard() for one in self.ranks]
            if any(heard):
                patience.renew()
            else:
                self.clock.sleep(patience.next_wait("the ranks' end".__str__))

    def _answers(self, one: _Listening, silent_s: float) -> None:
        if one.told_s:
            self.notice(f"{one.peer} answers again after {silent_s:.0f} s")
        one.told_s = 0.0
        one.silence.restart()
