"""Features brought to a scale, as measured on the training part; and the refusal of NaN and infinity.

Mean and variance are merged piece by piece in float64 after Chan, Golub and LeVeque, "Algorithms for Computing the
Sample Variance", The American Statistician 37(3), 1983, so memory is bounded and large means cost no digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import pieces
from mpipipe.data.targets import LARGEST
from mpipipe.data.types import Part, Rows64
from mpipipe.errors import DataError

Floats = NDArray[np.float64]
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Scaling:
    """x becomes (x - shift) * factor; both float64 and broadcastable to one sample's shape."""

    kind: str
    shift: Floats
    factor: Floats
    _cast: dict[np.dtype[Any], tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict, init=False, repr=False)

    def apply(self, x: NDArray[Any]) -> None:
        """Scale x of shape (n, *sample) in place, computing in x's own dtype."""
        if self.kind == "none":
            return
        if x.dtype not in self._cast:
            self._cast[x.dtype] = (self.shift.astype(x.dtype), self.factor.astype(x.dtype))
        shift, factor = self._cast[x.dtype]
        x -= shift
        x *= factor


@dataclass
class _Moments:
    """Count, mean, sum of squared deviations, least and greatest of each feature so far."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    low: Any = np.inf
    high: Any = -np.inf

    def merge(self, x: Floats, low: Floats, high: Floats) -> None:
        """Take in a piece of shape (n, *sample), which is overwritten."""
        total = self.count + len(x)
        mean = x.mean(axis=0)
        x -= mean
        delta = mean - self.mean
        self.squares = self.squares + np.square(x, out=x).sum(axis=0) + delta**2 * (self.count * len(x) / total)
        self.mean = self.mean + delta * (len(x) / total)
        self.low, self.high, self.count = np.minimum(self.low, low), np.maximum(self.high, high), total


def measure(part: Part, kind: str, where: str) -> Scaling:
    """The scaling of a part (at least one sample), in one pass: "none", "standard" or "range".

    "standard": zero mean and unit variance of each feature, factor 1 where a feature is constant. "range": the least
    and greatest of all features to 0 and 1. Raises DataError naming row and feature of NaN or infinity.
    """
    moments = _Moments()
    for x, low, high in _finite_pieces(part, where):
        if kind == "standard":
            moments.merge(x, low, high)
        else:
            moments.low, moments.high = np.minimum(moments.low, low), np.maximum(moments.high, high)
    if kind == "standard":
        spread = np.sqrt(moments.squares / moments.count)
        constant = (moments.low == moments.high) | (spread < _TINY)
        return Scaling(kind, np.where(constant, moments.low, moments.mean), 1 / np.where(constant, 1, spread))
    if kind == "range":
        low, high = moments.low.min(), moments.high.max()
        return Scaling(kind, np.array(low), np.array(1 / (high - low) if high - low >= _TINY else 1.0))
    assert kind == "none", kind
    return Scaling(kind, np.array(0.0), np.array(1.0))


def check_finite(part: Part, where: str) -> None:
    """Raise DataError naming the first row and feature of the part that is NaN or infinite.

    Targets need no such check: opening the set has made it.
    """
    for _ in _finite_pieces(part, where):
        pass


def _finite_pieces(part: Part, where: str) -> Iterator[tuple[Floats, Floats, Floats]]:
    """The part piece by piece, in one buffer that is used again, with the least and greatest of each feature."""
    buffer = np.empty((0, *part.shape))
    for rows in pieces(part.count, 8 * int(np.prod(part.shape))):
        if len(buffer) < len(rows):
            buffer = np.empty((len(rows), *part.shape))
        x = buffer[: len(rows)]
        part.fill(rows, x)
        low, high = x.min(axis=0), x.max(axis=0)
        if not (np.all(low >= -LARGEST) and np.all(high <= LARGEST)):
            raise _not_finite(part, where, rows, x)
        yield x, low, high


def _not_finite(part: Part, where: str, rows: Rows64, x: Floats) -> DataError:
    row, *index = (int(i) for i in np.argwhere(~(np.abs(x) <= LARGEST))[0])
    feature = str(index[0] if len(index) == 1 else tuple(index))
    column = f", column '{part.columns[index[0]]}'" if len(index) == 1 and part.columns else ""
    found = f"{x[row, *index]:g} in row {part.source_rows(rows[row : row + 1])[0]}{column}, feature {feature}"
    needed = f"finite numbers up to {LARGEST:.1e}"
    return DataError(where, f"{found} (counted from 0)", needed, "mend or leave out that row")
