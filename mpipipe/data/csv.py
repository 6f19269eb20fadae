"""Reader of CSV and its kin, with a header line, .gz or not: one column of targets, the others features.

Features whose numbers are all whole and from 0 to 255 are kept as bytes, block by block, so that images need little
memory.
"""

import itertools
import textwrap
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.counting import counting_columns, is_unnamed, left_out
from mpipipe.data.dialect import SEPARATORS, Row, open_text, read_rows
from mpipipe.data.gather import PIECE_BYTES
from mpipipe.data.numbers import Numbers
from mpipipe.data.table import Found, Wanted, make_table
from mpipipe.errors import DataError, nearest


def read(path: Path, wanted: Wanted) -> Found:
    """The rows of a table, in memory. Columns without a name, or that count the rows, are left out, with a notice.

    Raises DataError naming the line, and the column, of a ragged row or a cell that is not a number.
    """
    where = str(path)
    with open_text(path) as file:
        separator, rows = read_rows(where, file, _needed(wanted))
        header = _header(where, rows, wanted)
        columns = wanted.columns or tuple(name for name in header if name != wanted.target and not is_unnamed(name))
        if not columns:
            raise DataError(where, "no column but the target, or none with a name", "at least one column of features")
        numbers = Numbers(comma=separator != ",")
        x, cells = _rows(where, rows, header, columns, wanted, numbers)
    y = _targets(cells, wanted, numbers) if wanted.targets else None
    found = Found(make_table(where, x, y), columns=columns, notices=tuple(numbers.notices(where)))
    return found if wanted.columns else _without_counting(found, [name for name in header if is_unnamed(name)])


def _without_counting(found: Found, unnamed: list[str]) -> Found:
    """The same without columns that only count the rows. `unnamed` columns are left out already, which is said, too."""
    table, columns = found.train, found.columns
    assert isinstance(table.x, np.ndarray)
    counting, rising = counting_columns(table.x, columns)
    kept = [i for i, name in enumerate(columns) if name not in counting]
    if not kept:
        raise DataError(table.where, f"only counts the rows: {', '.join(columns)}", "at least one column of features")
    if counting:
        table = make_table(table.where, table.x[:, kept], table.y)
    notices = (*found.notices, *left_out(table.where, unnamed, counting, rising))
    return replace(found, train=table, columns=tuple(columns[i] for i in kept), notices=notices)


def _needed(wanted: Wanted) -> tuple[str, ...]:
    return (*wanted.columns, wanted.target) if wanted.targets else wanted.columns


def _header(where: str, rows: Iterator[Row], wanted: Wanted) -> list[str]:
    first = next(rows, None)
    if first is None:
        raise DataError(where, "an empty file", "a header line with the names of the columns")
    header = [" ".join(name.split()) for name in first.cells]
    missing = [name for name in _needed(wanted) if name not in header]
    if all(map(Numbers().is_number, header)) and (missing or not _needed(wanted)):
        raise _no_header(where, header, wanted)
    if missing:
        raise DataError(where, f"has no column '{missing[0]}'", "a header with that name", _advice(missing[0], first))
    name, times = Counter(header).most_common(1)[0]
    if times > 1 and name:
        raise DataError(where, f"{times} columns are named '{name}'", "a name of its own for each column")
    return header


def _no_header(where: str, header: list[str], wanted: Wanted) -> DataError:
    found = "its first line has only numbers, so it is no header"
    needed = f"a header line naming the columns, '{(*wanted.columns, wanted.target)[0]}' among them"
    remedy = "add such a line on top"
    if wanted.targets and not wanted.columns:
        remedy = f'if they are a sample, {remedy}; if they are names, set data.target to one of them, as "{header[-1]}"'
    return DataError(where, found, needed, remedy)


def _advice(missing: str, first: Row) -> str:
    names = [" ".join(name.split()) for name in first.cells]
    if len(first.lines) > 1:
        return (
            f"the header goes over {len(first.lines)} lines: look for a quote that is not closed in line {first.line}"
        )
    if len(names) == 1:
        told = f"line {first.line} is '{names[0][:60]}'"
        return f"{told}: the names belong into the first line, separated by {' or '.join(SEPARATORS.values())}"
    return textwrap.shorten(nearest(missing, [name for name in names if name]), 200, placeholder=" ...")


def _rows(
    where: str, rows: Iterator[Row], header: list[str], columns: tuple[str, ...], wanted: Wanted, numbers: Numbers
) -> tuple[NDArray[Any], list[str]]:
    """The features, shape (rows, columns), and the cells of the target column."""
    picked = [header.index(name) for name in columns]
    target = [header.index(wanted.target)] if wanted.targets else []
    blocks: list[NDArray[Any]] = [np.empty((0, len(picked)), np.uint8)]
    targets: list[str] = []
    while some := list(itertools.islice(rows, max(1, PIECE_BYTES // (64 * len(header))))):
        values = array("d")
        for row in some:
            try:
                values.extend(numbers.read([row.cells[i] for i in picked], row.line))
                if not wanted.labels:
                    numbers.read([row.cells[i] for i in target], row.line)
            except ValueError:
                raise _not_a_number(where, header, row, picked + target, numbers) from None
            targets.extend(row.cells[i].strip() for i in target)
            if target:
                _check_label(f"{where} line {row.line}, column '{wanted.target}'", targets[-1])
        blocks.append(_small(np.frombuffer(values).reshape(-1, len(picked))))
    return np.concatenate(blocks), targets


def _check_label(where: str, label: str) -> None:
    if not label:
        raise DataError(where, "an empty cell", "a target")
    if "\n" in label or "\r" in label:
        raise DataError(where, "a cell of several lines", "a target in one line", "look for a quote that is not closed")


def _targets(cells: list[str], wanted: Wanted, numbers: Numbers) -> NDArray[Any]:
    """Numbers where all cells are numbers and no class names are known; else the cells as strings."""
    if not wanted.classes and all(map(numbers.is_number, cells)):
        return np.array([numbers.read([cell], 0)[0] for cell in cells])
    return np.array(cells, dtype=str)


def _not_a_number(where: str, header: list[str], row: Row, picked: list[int], numbers: Numbers) -> DataError:
    column = next(i for i in picked if not numbers.is_number(row.cells[i]))
    cell = row.cells[column]
    found = f"{cell[:40]!r} is not a number" if cell.strip() else "an empty cell"
    return DataError(f"{where} line {row.line}, column '{header[column]}'", found, *numbers.needed(cell))


def _small(block: NDArray[np.float64]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):
        bytes_ = block.astype(np.uint8)
    return bytes_ if np.array_equal(bytes_, block) else block
