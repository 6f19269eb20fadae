"""Reader of CSV with a header line, .gz or not: one column of targets, the others features.

Features whose numbers are all whole and from 0 to 255 are kept as bytes, block by block, so that images need little
memory.
"""

import csv
import gzip
import itertools
import textwrap
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import PIECE_BYTES
from mpipipe.data.table import Found, Wanted, make_table
from mpipipe.errors import DataError, nearest

Lines = Iterator[tuple[int, list[str]]]


def read(path: Path, wanted: Wanted) -> Found:
    """The rows of a CSV file, in memory.

    Raises DataError naming the line, and the column, of a ragged row or a cell that is not a number.
    """
    where = str(path)
    with _open(path) as file:
        lines = _lines(where, file)
        header = _header(where, lines, wanted)
        columns = wanted.columns or tuple(name for name in header if name != wanted.target)
        if not columns:
            raise DataError(where, "no column but the target", "at least one column of features")
        x, cells = _rows(where, lines, header, columns, wanted)
    y = _targets(where, cells, wanted) if wanted.targets else None
    return Found(make_table(where, x, y), columns=columns)


def _open(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(where: str, file: TextIO) -> Lines:
    """Line numbers and cells. Blank lines are passed over; each row must have as many cells as the first."""
    reader = csv.reader(file)
    width = 0
    for row in reader:
        width = width or len(row)
        if len(row) not in (0, width):
            raise DataError(f"{where} line {reader.line_num}", f"{len(row)} cells", f"{width} cells, as the header has")
        if row:
            yield reader.line_num, row


def _header(where: str, lines: Lines, wanted: Wanted) -> list[str]:
    header = [" ".join(name.split()) for name in next(lines, (0, []))[1]]
    if not header:
        raise DataError(where, "an empty file", "a header line with the names of the columns")
    missing = [name for name in wanted.columns if name not in header]
    if wanted.targets and wanted.target not in header:
        missing.append(wanted.target)
    if all(map(_is_number, header)) and (missing or not wanted.columns):
        needed = f"a header line naming the columns, '{wanted.target}' among them"
        raise DataError(where, "its first line has only numbers, so it is no header", needed, "add such a line on top")
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        raise DataError(where, f"{times} columns are named '{name}'", "a name of its own for each column")
    if missing:
        remedy = textwrap.shorten(nearest(missing[0], header), 200, placeholder=" ...")
        raise DataError(where, f"has no column '{missing[0]}'", "a header with that name", remedy)
    return header


def _rows(
    where: str, lines: Lines, header: list[str], columns: tuple[str, ...], wanted: Wanted
) -> tuple[NDArray[Any], list[str]]:
    """The features, shape (rows, columns), and the cells of the target column."""
    picked = [header.index(name) for name in columns]
    target = [header.index(wanted.target)] if wanted.targets else []
    blocks: list[NDArray[Any]] = [np.empty((0, len(picked)), np.uint8)]
    targets: list[str] = []
    while some := list(itertools.islice(lines, max(1, PIECE_BYTES // (64 * len(header))))):
        numbers = array("d")
        for line, row in some:
            try:
                numbers.extend([float(row[i]) for i in picked])
                if not wanted.labels:
                    [float(row[i]) for i in target]
            except ValueError:
                raise _not_a_number(f"{where} line {line}", header, row, picked + target) from None
            targets.extend(row[i].strip() for i in target)
            if target and not targets[-1]:
                raise DataError(f"{where} line {line}, column '{wanted.target}'", "an empty cell", "a target")
        blocks.append(_small(np.frombuffer(numbers).reshape(-1, len(picked))))
    return np.concatenate(blocks), targets


def _targets(where: str, cells: list[str], wanted: Wanted) -> NDArray[Any]:
    """Numbers where all cells are numbers and no class names are known; else the cells as strings."""
    if not wanted.classes and all(map(_is_number, cells)):
        return np.array([float(cell) for cell in cells])
    return np.array(cells, dtype=str)


def _not_a_number(where: str, header: list[str], row: list[str], picked: list[int]) -> DataError:
    column = next(i for i in picked if not _is_number(row[i]))
    found = f"{row[column][:40]!r} is not a number" if row[column].strip() else "an empty cell"
    return DataError(f"{where}, column '{header[column]}'", found, "a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _small(block: NDArray[np.float64]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):
        bytes_ = block.astype(np.uint8)
    return bytes_ if np.array_equal(bytes_, block) else block
