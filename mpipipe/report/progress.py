"""Progress on standard error: a live bar on a terminal, a line every few seconds elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mpipipe.report.show import console, terminal_columns
from mpipipe.report.units import human_rate, human_seconds

LINE_S = 5.0
REDRAW_S = 0.1
Clock = Callable[[], float]


@dataclass(frozen=True)
class Moment:
    """Where training is after `step`. `accuracy` and each (rank, busy) are fractions; `epochs` is 0 where open."""

    step: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    samples_per_s: float
    busy: tuple[tuple[int, float], ...] = ()


class Progress:
    """Takes moments and notes, and shows none: the quiet one, and what the others build on."""

    def update(self, moment: Moment) -> None:
        """Show a later moment."""

    def note(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Show the last moment, if that has not been done."""


@contextmanager
def progress(
    total_steps: int, quiet: bool, start: int = 0, clock: Clock = time.monotonic, stream: TextIO | None = None
) -> Iterator[Progress]:
    """The progress that suits standard error (or `stream`), for steps `start` + 1 to `total_steps`."""
    stream = sys.stderr if stream is None else stream
    pace = Pace(total_steps, start, clock)
    shown: Progress = Progress()
    if not quiet:
        shown = Lines(pace, stream) if terminal_columns(stream) is None else Bar(pace, stream)
    try:
        yield shown
    finally:
        shown.close()


class Pace:
    """Foretells the time left from the steps done since the first one, which pays for the start and is left out."""

    def __init__(self, total_steps: int, start: int, clock: Clock) -> None:
        self.total_steps, self.start, self.clock = total_steps, start, clock
        self._from_step, self._from_s = start, clock()
        self._is_first = True

    def left_s(self, step: int) -> float:
        """Seconds from `step` to the end."""
        now = self.clock()
        done, elapsed = step - self._from_step, now - self._from_s
        if self._is_first:
            self._from_step, self._from_s, self._is_first = step, now, False
            self._first_s = elapsed / max(1, done)
        each = elapsed / done if done > 0 else self._first_s
        return max(0.0, each * (self.total_steps - step))


class Lines(Progress):
    """Plain lines: the first moment, the last, and one every LINE_S seconds between."""

    def __init__(self, pace: Pace, stream: TextIO) -> None:
        self._pace, self._stream = pace, stream
        self._shown_s = -LINE_S
        self._waiting: str | None = None
        self._is_first = True

    def update(self, moment: Moment) -> None:
        """Print the moment if it is time."""
        parts = _where(moment, self._pace), _values(moment), _busy(moment), _left(moment, self._pace)
        self._waiting = "  ".join(part for part in parts if part)
        due = self._pace.clock() - self._shown_s >= LINE_S
        if self._is_first or due or moment.step >= self._pace.total_steps:
            self.close()

    def note(self, text: str) -> None:
        """Print the text."""
        with suppress(OSError):  # nobody reads it any more, or its disk is full: the run goes on
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Print the last moment, if it has not been."""
        if self._waiting is not None:
            self.note(self._waiting)
            self._waiting, self._is_first, self._shown_s = None, False, self._pace.clock()


class Bar(Progress):
    """A few lines redrawn in place. They are drawn by the caller's thread: no thread of their own takes a core."""

    def __init__(self, pace: Pace, stream: TextIO) -> None:
        self._pace = pace
        # Standard output is left alone: it may be a file while the bar is on the terminal.
        self._live = Live(console=console(stream), auto_refresh=False, redirect_stdout=False)
        self._live.start()
        # rich hides the cursor; a run that is killed could not bring it back.
        self._live.console.show_cursor(True)
        self._shown_s = pace.clock() - REDRAW_S

    def update(self, moment: Moment) -> None:
        """Redraw, at most once every REDRAW_S seconds."""
        left = _left(moment, self._pace)
        due = self._pace.clock() - self._shown_s >= REDRAW_S
        self._live.update(self._lines(moment, left), refresh=due)
        if due:
            self._shown_s = self._pace.clock()

    def note(self, text: str) -> None:
        """Print the text above the bar."""
        self._live.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Draw the last moment and leave it on the screen."""
        self._live.stop()

    def _lines(self, moment: Moment, left: str) -> Group:
        top = Table.grid(padding=(0, 2), expand=True)
        top.add_column(no_wrap=True)
        top.add_column(ratio=1)
        top.add_column(no_wrap=True)
        bar = ProgressBar(total=max(1, self._pace.total_steps), completed=moment.step)
        top.add_row(_where(moment, self._pace), bar, left)
        return Group(top, Text(_values(moment)), Text(_busy(moment)))


def _where(moment: Moment, pace: Pace) -> str:
    epochs = f"/{moment.epochs}" if moment.epochs else ""
    return f"epoch {moment.epoch}{epochs}  step {moment.step}/{pace.total_steps}"


def _values(moment: Moment) -> str:
    accuracy = "" if moment.accuracy is None else f"  accuracy {moment.accuracy:.1%}"
    return f"loss {moment.loss:.4g}{accuracy}  {human_rate(moment.samples_per_s)}"


def _busy(moment: Moment) -> str:
    return " ".join(["busy", *(f"{rank}:{share:.0%}" for rank, share in moment.busy)]) if moment.busy else ""


def _left(moment: Moment, pace: Pace) -> str:
    left_s = pace.left_s(moment.step)
    return f"{human_seconds(left_s)} left" if moment.step < pace.total_steps else ""
