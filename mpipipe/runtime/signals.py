"""Signals: INT ends the run at once and cleanly; USR1 asks rank 0 to save a checkpoint and stop; TERM does that too
where there is something to save and time to do it, and ends the run at once elsewhere."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mpipipe.clock import REAL_CLOCK
from mpipipe.first import came
from mpipipe.launcher import under_open_mpi

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
KILLED_SOON_S = 2.0
"""Open MPI's mpirun ends ranks by CONT, a quarter of a second later TERM, and KILL another quarter later, which leaves
no time to save. A TERM so soon after a CONT is taken for mpirun's."""

ONE_WISH_S = 1.0
"""Slurm sends TERM to all processes of a job, and srun, being one of them, passes its own on to the ranks: a TERM so
soon after another is no second wish."""


class Signals:
    """Installed once, by the main thread. mpirun passes USR1 on to every rank.

    Signals that have come before are obeyed: raises KeyboardInterrupt for INT and TERM.
    """

    def __init__(
        self, now: Callable[[], float] = REAL_CLOCK.now, killed_soon: Callable[[], bool] = under_open_mpi
    ) -> None:
        self.stop_asked = False
        """Whether to save and stop."""
        self.terminated = False
        """Whether it was TERM that asked for it."""
        self._now, self._killed_soon = now, killed_soon
        self._can_save = False
        self._continued_at, self._terminated_at = now() - KILLED_SOON_S, 0.0
        if any(number != signal.SIGUSR1 for number in came):
            self.calm()
            raise KeyboardInterrupt
        self.stop_asked = bool(came)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGUSR1, self._ask)
        signal.signal(signal.SIGCONT, self._continue)

    def calm(self) -> None:
        """From now on nothing interrupts: the run is over, and MPI is being closed."""
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Meanwhile `stop_asked` is looked at, so that TERM may save."""
        self._can_save = True
        try:
            yield
        finally:
            self._can_save = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.calm()
        raise KeyboardInterrupt

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        if not self._can_save or self._now() - self._continued_at < KILLED_SOON_S:
            self._interrupt(number, frame)
        if not self.terminated:
            self._terminated_at = self._now()
        elif self._now() - self._terminated_at > ONE_WISH_S:
            self._interrupt(number, frame)
        self.stop_asked = self.terminated = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked = True

    def _continue(self, number: int, frame: FrameType | None) -> None:
        if self._killed_soon():
            self._continued_at = self._now()
