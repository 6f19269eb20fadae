"""Which contestant is being measured and about how long the rest takes: in place on a terminal, else line by line."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from mpipipe.report.show import terminal_columns

START_S, TURN_S = 8.0, 2.5
"""What a start and a turn are taken for until some have been measured."""
SHORT_S = 90.0
"""Below it, what is left is told in seconds."""


class Progress:
    """What is to be done, and how long what is done has taken. Writes to standard error."""

    def __init__(self, starts: int, rounds: int, turns: int, quiet: bool = False) -> None:
        self.starts, self.rounds, self.turns, self.quiet = starts, rounds, turns, quiet
        self._start_s: list[float] = []
        self._round_s: list[float] = []
        self._in_place = terminal_columns(sys.stderr)

    @contextmanager
    def measuring_start(self, what: str) -> Iterator[None]:
        """One contestant is started, and does its first steps. A line of its own only in place: there are many."""
        if self._in_place is not None:
            self._tell(what)
        elif len(self._start_s) % self.turns == 0:
            self._tell(f"{what.partition(':')[0]}: starting the contestants")
        with _timed(self._start_s):
            yield

    @contextmanager
    def measuring_round(self, what: str) -> Iterator[None]:
        """All have a turn."""
        self._tell(what)
        with _timed(self._round_s):
            yield

    def clear(self) -> None:
        """Make room for lines that stay."""
        if self._in_place is not None and not self.quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _tell(self, what: str) -> None:
        if self.quiet:
            return
        starts, rounds = self.starts - len(self._start_s), self.rounds - len(self._round_s)
        text = f"{what}; {left_text(left_s(starts, self._start_s, rounds, self._round_s, self.turns))} left"
        if self._in_place is None:
            sys.stderr.write(f"{text}\n")
        else:
            sys.stderr.write(f"\r{text[: (self._in_place or 80) - 1]}\x1b[K")
        sys.stderr.flush()


def left_s(starts: int, start_s: Sequence[float], rounds: int, round_s: Sequence[float], turns: int) -> float:
    """Seconds of so many starts and rounds of so many turns, after those that took `start_s` and `round_s`."""
    return starts * (fmean(start_s) if start_s else START_S) + rounds * (fmean(round_s) if round_s else turns * TURN_S)


def left_text(seconds: float) -> str:
    """Rounded up, as rough as it is known: `about 40 s`, `about 3 min`."""
    if seconds <= SHORT_S:
        return f"about {max(10, -(-seconds // 10) * 10):.0f} s"
    return f"about {-(-seconds // 60):.0f} min"


@contextmanager
def _timed(took_s: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    took_s.append(time.monotonic() - began)
