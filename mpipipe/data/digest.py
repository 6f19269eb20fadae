"""What tells one data set from another under the same name: how many samples there are, and a digest of them."""

import hashlib
from dataclasses import dataclass
from math import prod

import numpy as np

from mpipipe.data.gather import pieces
from mpipipe.data.types import DataSet

MOST_BYTES = 1 << 28
"""Of a part that is larger, evenly spaced samples stand for all, so that it takes a second or so at the most."""


@dataclass(frozen=True)
class Identity:
    """How many samples train and how many are held back, and a BLAKE2b digest of features and targets in their order:
    the same for the same numbers, whatever the path and the format."""

    train: int = 0
    held_back: int = 0
    digest: str = ""


def identify(data: DataSet) -> Identity:
    """The identity of an open data set, in bounded memory. Raises DataError on a damaged file."""
    digest = hashlib.blake2b(digest_size=16)
    targets = np.dtype(np.int64 if data.labels else np.float64)
    for part in (data.train, data.validation):
        row_bytes = 8 * (prod(part.shape) + prod(data.target_shape))
        step = max(1, -(-part.count * row_bytes // MOST_BYTES))
        every = np.arange(0, part.count, step, dtype=np.int64)
        for piece in pieces(len(every), row_bytes):
            rows = every[piece]
            x, t = np.empty((len(rows), *part.shape)), np.empty((len(rows), *data.target_shape), targets)
            part.fill(rows, x)
            part.fill_targets(rows, t)
            digest.update(x.data)
            digest.update(t.data)
    return Identity(data.train.count, data.validation.count, digest.hexdigest())


def other_data(known: Identity, found: Identity, where: str) -> list[str]:
    """A notice where the data are not those that a model was trained on; none where that is not known."""
    if not known.digest or known == found:
        return []
    counts = [f"{one.train:,} for training and {one.held_back:,} held back" for one in (found, known)]
    how = "other samples or another order" if counts[0] == counts[1] else f"{counts[0]}; they were {counts[1]}"
    return [
        f"{where} is not what the model was trained on ({how}): samples that are held back now may have been trained on"
    ]
