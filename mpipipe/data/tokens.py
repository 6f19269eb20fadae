"""Tokens against the layer that has a vector for each of them: features have to be numbers of tokens."""

from math import prod

import numpy as np

from mpipipe.data.gather import pieces
from mpipipe.data.targets import LARGEST, place_text
from mpipipe.data.types import Part
from mpipipe.errors import DataError


def check_tokens(part: Part, tokens: int, where: str, layer: str) -> None:
    """Raise DataError naming the first feature that is not a whole number from 0 to tokens - 1.

    `layer` is the name of the embedding. Where tokens are only too many for it, the number that it needs is told.
    """
    wrong: DataError | None = None
    highest, whole = 0.0, True
    for rows in pieces(part.count, 8 * prod(part.shape)):
        x = np.empty((len(rows), *part.shape))
        part.fill(rows, x)
        is_token = (x >= 0) & (x <= LARGEST) & (x == np.floor(x))
        whole, highest = whole and bool(is_token.all()), max(highest, float(x.max()))
        misses = ~is_token | (x >= tokens)
        if wrong is None and misses.any():
            row, *position = (int(i) for i in np.argwhere(misses)[0])
            found = f"token {x[row, *position]:.9g} in {place_text(int(part.source_rows(rows)[row]), position)}"
            needed = f"whole numbers from 0 to {tokens - 1}, for layer {layer} has an embedding of that many"
            wrong = DataError(where, found, needed)
    if wrong is not None:
        remedy = f"set its tokens to {highest + 1:.0f} or more, or mend the data" if whole else "mend the data"
        raise DataError(wrong.where, wrong.found, wrong.needed, remedy)
