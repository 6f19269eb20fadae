"""Columns that only number the rows of a table, as other programs write them beside the data.

Such a column is no feature: in a sorted table it gives the target away, and of new rows it says nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANY_ROWS = 10
"""With fewer rows than this, whole numbers that go up by one may be chance."""
_UNNAMED = re.compile(r"(unnamed: ?\d+(_level_\d+)?(\.\d+)*)?", re.IGNORECASE)  # pandas gives such names
_NUMBERING = re.compile(
    r"(row|line|record|rec|sample|case|obs|observation|instance|item|entry|serial)?"
    r"(index|indices|idx|id|no|nr|num|number)?|rows|rownames?|level0|lfdnr|sno|nummer"
)


def is_unnamed(name: str) -> bool:
    """Whether a column has no name, or the one that pandas gives to a column without a name."""
    return _UNNAMED.fullmatch(name) is not None


def counting_columns(x: NDArray[Any], columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of features of shape (rows, columns): those that number the rows by name and content; those only by content.

    By name, whole numbers that are all different are enough, for the rows may have been shuffled or picked.
    """
    numbering = [name for i, name in enumerate(columns) if _is_numbering(name) and _all_differ(x[:, i])]
    rising = [name for i, name in enumerate(columns) if name not in numbering and _goes_up_by_one(x[:, i])]
    return tuple(numbering), tuple(rising)


def left_out(where: str, unnamed: Sequence[str], numbering: Sequence[str], rising: Sequence[str]) -> list[str]:
    """Notices on such columns."""
    notices = []
    if unnamed:
        names = ", ".join(f"'{name}'" for name in unnamed)
        notices.append(f"{where}: columns without a name ({names}) are not taken as features")
    if numbering:
        names = ", ".join(f"'{name}'" for name in numbering)
        notices.append(f"{where}: {names} only numbers the rows, so it is not taken as a feature")
    if rising:
        names = ", ".join(f"'{name}'" for name in rising)
        notices.append(f"{where}: {names} goes up by one from row to row; remove it if it is no feature")
    return notices


def _is_numbering(name: str) -> bool:
    return _NUMBERING.fullmatch(re.sub(r"[\W_]", "", name.casefold())) is not None


def _all_differ(column: NDArray[Any]) -> bool:
    whole = bool(np.all((column >= 0) & (column == np.floor(column))))
    return len(column) > 1 and whole and len(np.unique(column)) == len(column)


def _goes_up_by_one(column: NDArray[Any]) -> bool:
    return len(column) >= MANY_ROWS and bool(np.all(np.diff(column.astype(np.float64)) == 1))
