"""The one way to the screen. A terminal gets its own width and colours; a file or pipe gets 120 plain columns."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.box import Box
from rich.console import Console, RenderableType

from mpipipe.errors import UserError
from mpipipe.launcher import launcher_stream, started_by_launcher

PLAIN_WIDTH = 120
# Only a rule below the header, of characters that every terminal, log and mail can show.
RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def show(renderable: RenderableType, quiet: bool = False) -> None:
    """Print a table or a line to standard output, or nothing when `quiet`. Lines are never broken nor interpreted."""
    if not quiet:
        with standard_output() as stream:
            console(stream).print(renderable, soft_wrap=isinstance(renderable, str))


def warn(text: str, quiet: bool = False) -> None:
    """A notice, which the user should see even when quiet: it goes to standard error then."""
    if quiet:
        print(f"mpipipe: notice: {text}", file=sys.stderr, flush=True)
    show(f"notice: {text}", quiet)


@contextlib.contextmanager
def dispensable(what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Whatever goes wrong in the body, be it in a library, is told in one line: the run is worth more than `what`."""
    try:
        yield
    except Exception as reason:
        why = " ".join(str(reason).split()) or type(reason).__name__
        tell(f"{what} is left out: {why}")


@contextlib.contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output, flushed in the end. UserError where nobody reads it any more, or its disk is full."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as reason:
        with contextlib.suppress(OSError):  # or the interpreter would try, and fail, once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        found = f"cannot be written ({reason.strerror or reason})"
        raise UserError("standard output", found, "a reader, or a disk with room") from reason


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the error out; rich would end this process here, and say nothing to the other ranks."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(stream: TextIO) -> Console:
    """A console that prints text as it is: no markup, no highlighting."""
    columns = terminal_columns(stream)
    return _Console(
        file=stream,
        width=PLAIN_WIDTH if columns is None else columns or None,
        force_terminal=columns is not None,
        no_color=True if columns is None else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


def terminal_columns(stream: TextIO) -> int | None:
    """Columns of the terminal that shows `stream` (0 where it does not say), or None where none does."""
    if not started_by_launcher() or stream not in (sys.stdout, sys.stderr):
        return _columns(stream) if stream.isatty() else None
    path = launcher_stream(1 if stream is sys.stdout else 2)
    if path is None:
        return None
    try:
        with path.open() as terminal:
            return _columns(terminal)
    except OSError:
        return None


def output_width() -> int:
    """Columns that `show` has now."""
    return console(sys.stdout).width


def _columns(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns
    except OSError:
        return 0
