"""What tells one data set from another under the same name: how many samples there are, and digests of them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mpipipe.data.gather import pieces
from mpipipe.data.types import DataSet, Rows, Rows64

MOST_BYTES = 1 << 29
"""Of features or targets that take more, evenly spaced pieces stand for all: it takes about a second at the most."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How many samples train and how many are held back, with digests (BLAKE2b) of all samples that the training part
    is taken from, of those that the validation part is taken from if these are others, and of the choice among them.

    The same for the same numbers in the same order, whatever the path and the format.
    """

    train: int = 0
    held_back: int = 0
    samples: str = ""
    held_back_samples: str = ""
    choice: str = ""


def identify(data: DataSet, most_bytes: int = MOST_BYTES) -> Identity:
    """The identity of an open data set, in bounded memory. Raises DataError on a damaged file."""
    train, validation = data.train, data.validation
    choice = hashlib.blake2b(digest_size=16)
    for part in (train, validation):
        choice.update(b"all" if part.rows is None else np.ascontiguousarray(part.rows).data)
    return Identity(
        train=train.count,
        held_back=validation.count,
        samples=digest(train.source, data, most_bytes),
        held_back_samples="" if validation.source is train.source else digest(validation.source, data, most_bytes),
        choice=choice.hexdigest(),
    )


def digest(rows: Rows, data: DataSet, most_bytes: int = MOST_BYTES) -> str:
    """The digest of rows that have targets as the data set has them: of features and targets, in their order."""
    found = hashlib.blake2b(str(rows.count).encode(), digest_size=16)
    targets = np.int64 if data.labels else np.float64
    for dtype, shape, fill in ((np.float64, rows.shape, rows.fill), (targets, data.target_shape, rows.fill_targets)):
        step = max(1, -(-rows.count * 8 * prod(shape) // most_bytes))
        for array in _filled(rows.count, step, dtype, shape, fill):
            found.update(array.data)
    return found.hexdigest()


def other_data(known: Identity, found: Identity, where: str) -> list[str]:
    """A notice where the data are not those that a model was trained on; none where that is not known."""
    if not known.samples or known == found:
        return []
    counts = [f"{one.train:,} for training and {one.held_back:,} held back" for one in (found, known)]
    how = "other samples, or another order"
    if counts[0] != counts[1]:
        how = f"{counts[0]}; they were {counts[1]}"
    elif (known.samples, known.held_back_samples) == (found.samples, found.held_back_samples):
        how = "others of its samples are held back"
    return [
        f"{where} is not what the model was trained on ({how}): samples that are held back now may have been trained on"
    ]


def were_trained_on(known: Identity, data: DataSet) -> bool:
    """Whether the whole of a validation part has samples among them that a model was trained on, as far as is known."""
    if not known.samples:
        return False
    found = digest(data.validation.source, data)
    held = found == known.held_back_samples and data.validation.count <= known.held_back
    return found in (known.samples, known.held_back_samples) and not held


def _filled(
    count: int, step: int, dtype: DTypeLike, shape: tuple[int, ...], fill: Callable[[Rows64, NDArray[Any]], None]
) -> Iterator[NDArray[Any]]:
    """Every `step`-th piece of all samples, in one buffer that is used again."""
    buffer = np.empty((0, *shape), dtype)
    for rows in islice(pieces(count, 8 * prod(shape)), 0, None, step):
        if len(buffer) < len(rows):
            buffer = np.empty((len(rows), *shape), dtype)
        array = buffer[: len(rows)]
        fill(rows, array)
        yield array
