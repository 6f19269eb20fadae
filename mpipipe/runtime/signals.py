"""Signals: INT and TERM end the run at once and cleanly; USR1 asks rank 0 to save a checkpoint and stop."""

import signal
from types import FrameType


class Signals:
    """Installed once, by the main thread. `stop_asked` turns true with USR1, which mpirun passes on to every rank."""

    def __init__(self) -> None:
        self.stop_asked = False
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)
        signal.signal(signal.SIGUSR1, self._ask)

    def calm(self) -> None:
        """From now on nothing interrupts: the run is over, and MPI is being closed."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.calm()
        raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked = True
