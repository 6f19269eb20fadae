"""Windows of a long row of tokens: the samples of a text, without a copy of them.

It knows nothing of files, characters or training; features and targets are two such windows of one array.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.types import Rows64


@dataclass(frozen=True, eq=False)
class Windows:
    """Window i is tokens[i * context + shift : (i + 1) * context + shift]; what lies past the end is `beyond`.

    There are as many windows as hold a token with a next one: of n tokens, all but the last are in exactly one window
    of shift 0, and all but the first in exactly one of shift 1. It has the `shape` and `dtype` of a stored array.
    """

    tokens: NDArray[Any]
    context: int
    shift: int = 0
    beyond: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(windows, context)."""
        return max(0, -(-(len(self.tokens) - 1) // self.context)), self.context

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the tokens; `beyond` need not fit it."""
        return self.tokens.dtype

    def fill(self, rows: Rows64, out: NDArray[Any]) -> None:
        """Put the given windows, in that order, into out of shape (len(rows), ...), context elements a row."""
        places = rows[:, np.newaxis] * self.context + np.arange(self.shift, self.shift + self.context)
        past = places >= len(self.tokens)
        out[...] = np.take(self.tokens, places, mode="clip").reshape(out.shape)
        out[past.reshape(out.shape)] = self.beyond

    def first(self, windows: int) -> "Windows":
        """The first so many windows, and not a token of what follows them, be it as the last one's last target."""
        return Windows(self.tokens[: windows * self.context], self.context, self.shift, self.beyond)
