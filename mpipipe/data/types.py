"""What the room hands out: rows of samples, a part of them, a whole data set.

A part never copies its samples; it remembers which rows of its source are its own.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows64 = NDArray[np.int64]


class Rows(Protocol):
    """Numbered samples that can be gathered in any order."""

    @property
    def count(self) -> int:
        """How many samples there are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's features."""

    def fill(self, rows: Rows64, x: NDArray[Any]) -> None:
        """Gather the features of `rows`, in that order, into x of shape (len(rows), *shape), float32 or float64."""

    def fill_targets(self, rows: Rows64, t: NDArray[Any]) -> None:
        """Gather the targets of `rows`: t is (n, ...) int64 for labels, (n, k) float for values."""


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the validation part: the given rows of `source`, or all of them where `rows` is None.

    `columns` names the features where they came from a table (else empty); it serves error messages only. `notices` say
    what the user should know of the file.
    """

    source: Rows
    rows: Rows64 | None = None
    columns: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many samples the part has."""
        return self.source.count if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's features."""
        return self.source.shape

    def fill(self, rows: Rows64, x: NDArray[Any]) -> None:
        """Gather features into x, as `Rows.fill`; rows count within the part. Raises DataError on a damaged file."""
        self.source.fill(self.source_rows(rows), x)

    def fill_targets(self, rows: Rows64, t: NDArray[Any]) -> None:
        """Gather targets into t, as `Rows.fill_targets`; rows count within the part."""
        self.source.fill_targets(self.source_rows(rows), t)

    def source_rows(self, rows: Rows64) -> Rows64:
        """The rows of the source that stand behind rows of this part: what an error message has to name."""
        return rows if self.rows is None else self.rows[rows]


@dataclass(frozen=True, eq=False)
class DataSet:
    """An open data set, split. `source` is the path or name as the job gives it.

    Targets are class labels (`labels`, target_shape () or, for sequences of them, (k,)) or values (target_shape (k,)).
    `classes` are the names of the classes where the file gives names, `columns` the feature columns of a CSV file; else
    empty. `tokens` is "characters" or "bytes" where the set is a text, else empty; characters are its `classes` then.
    """

    source: str
    train: Part
    validation: Part
    labels: bool
    target_shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    tokens: str = ""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the files that the parts come from."""
        return tuple(dict.fromkeys((*self.train.notices, *self.validation.notices)))

    @property
    def vocabulary(self) -> int:
        """How many tokens a text may have; 0 for other data."""
        return {"": 0, "bytes": 256}.get(self.tokens, len(self.classes))


def held_back(where: str) -> str:
    """The same place, its held-back samples."""
    return f"{where}, held-back samples"
