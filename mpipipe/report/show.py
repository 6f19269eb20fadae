"""The one way to standard output. A terminal gets its own width and colours; a file or pipe gets 120 plain columns."""

import sys
from typing import TextIO

from rich.box import Box
from rich.console import Console, RenderableType

PLAIN_WIDTH = 120
# Only a rule below the header, of characters that every terminal, log and mail can show.
RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def show(renderable: RenderableType, quiet: bool = False) -> None:
    """Print a table or a line to standard output, or nothing when `quiet`. Lines are never broken nor interpreted."""
    if not quiet:
        console(sys.stdout).print(renderable, soft_wrap=isinstance(renderable, str))


def console(stream: TextIO) -> Console:
    """A console that prints text as it is: no markup, no highlighting."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if terminal else PLAIN_WIDTH,
        force_terminal=terminal,
        no_color=None if terminal else True,
        markup=False,
        emoji=False,
        highlight=False,
    )


def output_width() -> int:
    """Columns that `show` has now."""
    return console(sys.stdout).width
