"""What every reader shares: what it is asked for and what it found.

A reader is a function `(path, Wanted) -> Found`. It knows its format and nothing of training, splits or models. Where
a file is damaged it may raise whatever its library raises: `reading` around it makes a DataError of that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import Stored, gather
from mpipipe.data.types import Rows64
from mpipipe.errors import DataError


@dataclass(frozen=True, eq=False)
class Table:
    """Features and, where there are any, targets of the same samples: a source of rows. `where` names it in errors.

    Both stay in the type they are stored in: images of bytes stay bytes. `shape` is that of one sample.
    """

    where: str
    x: Stored
    y: Stored | None
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many samples there are."""
        return int(self.x.shape[0])

    def fill(self, rows: Rows64, x: NDArray[Any]) -> None:
        """Gather features into x of shape (len(rows), *shape)."""
        gather(self.x, rows, x)

    def fill_targets(self, rows: Rows64, t: NDArray[Any]) -> None:
        """Gather targets into t."""
        assert self.y is not None, "opened for prediction, so without targets"
        gather(self.y, rows, t)


@dataclass(frozen=True)
class Wanted:
    """What a reader is asked for: the target column, whether targets are needed and as labels.

    `columns` are the feature columns to take, by name and in this order; `classes` are class names already known.
    A text is cut into `tokens` ("characters" or "bytes"), `context` of them a sample; `trained` are the tokens of the
    model that the data are for ("" if it was trained on no text), None where there is none yet.
    """

    target: str = "target"
    targets: bool = True
    labels: bool = True
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tokens: str = "characters"
    context: int = 128
    trained: str | None = None


@dataclass(frozen=True)
class Found:
    """What a reader found: the training part, the set's own test part, names of feature columns and of classes.

    `tokens` says what a text was cut into; empty for other data. `notices` are for the user.
    """

    train: Table
    test: Table | None = None
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tokens: str = ""
    notices: tuple[str, ...] = ()


def make_table(where: str, x: Stored, y: Stored | None) -> Table:
    """Features and targets as one source. Raises DataError for no samples, no numbers, or counts that differ."""
    if not x.shape or 0 in x.shape:
        raise DataError(where, f"features of shape {x.shape}", "at least one sample with at least one feature")
    if np.dtype(x.dtype).kind not in "buif":
        raise DataError(where, f"features of type {x.dtype}", "numbers")
    if y is not None and y.shape[:1] != x.shape[:1]:
        targets = y.shape[0] if y.shape else "no"
        raise DataError(where, f"{x.shape[0]} samples but {targets} targets", "one target for each sample")
    return Table(where, x, y, tuple(x.shape[1:]) or (1,))
