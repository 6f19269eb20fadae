"""Targets made fit for the loss: class names to numbers, whole and non-negative labels, finite values."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import Stored, gather, pieces
from mpipipe.data.table import Found, Table, Wanted
from mpipipe.data.types import Part, Rows64
from mpipipe.errors import DataError, nearest

# beyond this a number overflows when the run computes in single precision; NaN and infinity fail the comparison too
LARGEST = float(np.finfo(np.float32).max)


def settle(found: Found, wanted: Wanted) -> Found:
    """The same tables with their targets as numbers that the loss can use, checked once, in pieces.

    Raises DataError naming the first row (counted from 0) whose target is of no use.
    """
    classes = wanted.classes or _class_names(found.train, wanted)
    train = _settle(found.train, wanted, classes)
    test = found.test and _settle(found.test, wanted, classes)
    return replace(found, train=train, test=test, classes=classes)


def target_shape(table: Table, labels: bool) -> tuple[int, ...]:
    """The shape of one target: () for labels, (k,) for values."""
    assert table.y is not None
    return () if labels else table.y.shape[1:] or (1,)


def check_labels(part: Part, outputs: int, where: str) -> None:
    """Raise DataError naming the first row whose label is not one of the model's outputs, 0 to outputs - 1."""
    for rows in pieces(part.count, 8):
        labels = np.empty(len(rows), np.int64)
        part.fill_targets(rows, labels)
        wrong = np.flatnonzero((labels < 0) | (labels >= outputs))
        if len(wrong):
            row = part.source_rows(rows[wrong[:1]])[0]
            found = f"label {labels[wrong[0]]} in row {row} (counted from 0)"
            needed = f"labels from 0 to {outputs - 1}, for the model has {outputs} outputs"
            raise DataError(where, found, needed, "give the last layer more outputs, or mend the data")


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
    elif wanted.labels and y.shape[1:] not in ((), (1,)):
        raise DataError(table.where, f"targets of shape {y.shape}", f"one label for each sample, shape ({y.shape[0]},)")
    elif not wanted.labels and (len(y.shape) > 2 or 0 in y.shape):
        raise DataError(table.where, f"targets of shape {y.shape}", "(samples,) or (samples, values)")
    else:
        _check_numbers(table.where, y, wanted.labels)
    return table


def _numbered(where: str, y: NDArray[Any], classes: tuple[str, ...]) -> Rows64:
    numbers = {name: number for number, name in enumerate(classes)}
    names, places = np.unique(y, return_inverse=True)
    for name in names:
        if name not in numbers:
            row = int(np.argmax(y == name))
            found = f"class {str(name)!r} in row {row} (counted from 0)"
            raise DataError(where, found, "one of the classes trained on", nearest(str(name), numbers))
    return np.array([numbers[name] for name in names], dtype=np.int64)[places.reshape(-1)]


def _check_numbers(where: str, y: Stored, labels: bool) -> None:
    width = int(np.prod(y.shape[1:]))
    for rows in pieces(y.shape[0], 8 * width):
        values = np.empty((len(rows), width))
        gather(y, rows, values)
        fine = np.abs(values) <= LARGEST
        if labels:
            fine &= (values >= 0) & (values == np.floor(values))
        if not fine.all():
            row, column = np.argwhere(~fine)[0]
            found = f"target {values[row, column]:g} in row {rows[row]} (counted from 0)"
            raise DataError(where, found, "whole numbers from 0 up, as class labels" if labels else "a finite number")
