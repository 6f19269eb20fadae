"""What is done first of all, before anything large is loaded: signals are kept until the program can obey them.

USR1 would kill a process that is still loading its libraries, and INT would end it with a traceback from anywhere. This
file knows nothing but the signals, and loads nothing.
"""

import signal
from types import FrameType

KEPT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
came: list[int] = []
"""Signals that have come, in order. A handler has no caller that could hold this list, so it belongs to the module."""


def keep_signals() -> None:
    """Keep INT, TERM and USR1 in `came` from now on, until `Signals` or `let_them_act` installs other handlers."""
    for number in KEPT:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for nohup, or what a shell starts with &
            signal.signal(number, _keep)


def let_them_act() -> None:
    """For commands that do not run on ranks: INT and TERM end them, as usual; those that have come, too."""
    for number in KEPT[:2]:
        if signal.getsignal(number) is _keep:
            signal.signal(number, signal.default_int_handler)
    if any(number in KEPT[:2] for number in came):
        raise KeyboardInterrupt


def _keep(number: int, frame: FrameType | None) -> None:
    came.append(number)
