"""Targets made fit for the loss: class names to numbers, whole and non-negative labels, finite values.

A sample has one label or, in a sequence, one at every position; there -1 marks a position that the loss ignores.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import Stored, gather, pieces
from mpipipe.data.table import Found, Table, Wanted
from mpipipe.data.types import Part
from mpipipe.data.windows import Windows
from mpipipe.errors import DataError, nearest

# beyond this a number overflows when the run computes in single precision; NaN and infinity fail the comparison too
LARGEST = float(np.finfo(np.float32).max)


def settle(found: Found, wanted: Wanted) -> Found:
    """The same tables with their targets as numbers that the loss can use, checked once, in pieces.

    Raises DataError naming the first row (counted from 0) whose target is of no use.
    """
    classes = found.classes or wanted.classes or _class_names(found.train, wanted)
    train = _settle(found.train, wanted, classes)
    test = found.test and _settle(found.test, wanted, classes)
    return replace(found, train=train, test=test, classes=classes)


def target_shape(table: Table, labels: bool) -> tuple[int, ...]:
    """The shape of one target: () for a label, any other for a sequence of labels, (k,) for values."""
    assert table.y is not None
    shape = tuple(int(length) for length in table.y.shape[1:])
    if labels:
        return () if shape == (1,) else shape
    return shape or (1,)


def check_labels(part: Part, outputs: int, where: str, shape: tuple[int, ...] = ()) -> None:
    """Raise DataError naming the first row (and position) whose label is not one of the outputs, 0 to outputs - 1.

    `shape` is that of one target. Sequences of labels may have -1 too, but not everywhere.
    """
    least, highest = _least(shape), -1
    wrong: DataError | None = None
    for rows in pieces(part.count, 8 * prod(shape)):
        labels = np.empty((len(rows), *shape), np.int64)
        part.fill_targets(rows, labels)
        highest = max(highest, int(labels.max()))
        misses = (labels < least) | (labels >= outputs)
        if wrong is None and misses.any():
            row, *position = (int(i) for i in np.argwhere(misses)[0])
            found = f"label {labels[row, *position]} in {place_text(int(part.source_rows(rows)[row]), position)}"
            needed = f"labels from 0 to {outputs - 1}, for the model has {outputs} outputs"
            wrong = DataError(where, found, needed + (", or -1 to ignore one" if least else ""))
    if wrong is not None:
        remedy = f"give the last layer at least {highest + 1} outputs, or mend the data"
        raise DataError(wrong.where, wrong.found, wrong.needed, remedy if highest >= outputs else "mend the data")
    if part.count and highest < 0:
        raise DataError(where, "every label is -1, so all of them are ignored", "at least one from 0 up")


def one_hot_classes(part: Part, shape: tuple[int, ...]) -> int:
    """How many classes labels stand for where each seems to be written as a row of 0 with a single 1; else 0.

    `shape` is that of one target; its last axis may be such a row. Other pairs of numbers, as -1 and 1, do too.
    """
    if not part.count or not shape or shape[-1] < 2:
        return 0
    seen: set[int] = set()
    for rows in pieces(part.count, 8 * prod(shape)):
        labels = np.empty((len(rows), *shape), np.int64)
        part.fill_targets(rows, labels)
        seen |= {int(labels.min()), int(labels.max())}
        highest = labels == max(seen)
        if not (highest.sum(axis=-1) == 1).all() or not (highest | (labels == min(seen))).all():
            return 0
    return shape[-1] if len(seen) == 2 else 0


def place_text(row: int, position: Sequence[int]) -> str:
    """A row and, within a sequence, a position, in words."""
    if not position:
        return f"row {row} (counted from 0)"
    return f"row {row}, position {position[0] if len(position) == 1 else tuple(position)} (counted from 0)"


def _least(shape: tuple[int, ...]) -> int:
    """The least label that a target of this shape may have."""
    return -1 if prod(shape) > 1 else 0


def _class_names(table: Table, wanted: Wanted) -> tuple[str, ...]:
    if wanted.labels and isinstance(table.y, np.ndarray) and table.y.dtype.kind == "U":
        return tuple(str(name) for name in np.unique(table.y))
    return ()


def _settle(table: Table, wanted: Wanted, classes: tuple[str, ...]) -> Table:
    y = table.y
    assert y is not None
    if isinstance(y, np.ndarray) and y.dtype.kind == "U" and wanted.labels:
        table = replace(table, y=_numbered(table.where, y, classes))
    elif y.dtype.kind not in "buif":
        raise DataError(table.where, f"targets of type {y.dtype}", "numbers")
    elif wanted.labels and 0 in y.shape:
        raise DataError(table.where, f"targets of shape {y.shape}", "a label for each sample, or a sequence of labels")
    elif not wanted.labels and (len(y.shape) > 2 or 0 in y.shape):
        raise DataError(table.where, f"targets of shape {y.shape}", "(samples,) or (samples, values)")
    elif not isinstance(y, Windows):  # the tokens of a text are whole numbers from 0 up as they are
        _check_numbers(table.where, y, wanted.labels)
    return table


def _numbered(where: str, y: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(classes)}
    names, places = np.unique(y, return_inverse=True)
    for name in names:
        if name not in numbers:
            row, *position = (int(i) for i in np.argwhere(y == name)[0])
            found = f"class {str(name)!r} in {place_text(row, position if y.size > len(y) else ())}"
            raise DataError(where, found, "one of the classes trained on", nearest(str(name), numbers))
    return np.array([numbers[name] for name in names], dtype=np.int64)[places].reshape(y.shape)


def _check_numbers(where: str, y: Stored, labels: bool) -> None:
    shape = () if y.shape[1:] == (1,) else y.shape[1:]
    least = _least(shape)
    for rows in pieces(y.shape[0], 8 * prod(shape)):
        values = np.empty((len(rows), *shape))
        gather(y, rows, values)
        fine = np.abs(values) <= LARGEST
        if labels:
            fine &= (values >= least) & (values == np.floor(values))
        if not fine.all():
            row, *position = (int(i) for i in np.argwhere(~fine)[0])
            found = f"target {values[row, *position]:g} in {place_text(int(rows[row]), position)}"
            needed = "whole numbers from 0 up, as class labels" + (", or -1 to ignore one" if least else "")
            raise DataError(where, found, needed if labels else "a finite number")
