"""Features and targets brought to a scale, as measured on the training part; and the refusal of NaN and infinity.

Mean and variance are merged piece by piece in float64 after Chan, Golub and LeVeque, "Algorithms for Computing the
Sample Variance", The American Statistician 37(3), 1983, so memory is bounded and large means cost no digits. Samples
are scaled in float64, too, before they become float32: numbers far from zero differ in digits that float32 has not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import pieces
from mpipipe.data.targets import LARGEST
from mpipipe.data.types import Part, Rows64
from mpipipe.errors import DataError

Floats = NDArray[np.float64]
_TINY = float(np.finfo(np.float64).tiny) ** 0.5  # deviations below this have squares of 0
_FILL_BYTES = 2**18  # samples that are scaled at once: they stay in the cache


@dataclass(frozen=True, eq=False)
class Scaling:
    """x becomes (x - shift) * factor; both float64 and broadcastable to one sample's shape."""

    kind: str
    shift: Floats
    factor: Floats

    def fill(self, gather: Callable[[Rows64, NDArray[Any]], None], rows: Rows64, out: NDArray[Any]) -> None:
        """What `gather` finds for the rows, scaled, into out of shape (len(rows), *sample)."""
        if self.kind == "none":
            gather(rows, out)
            return
        for some in pieces(len(rows), 8 * prod(out.shape[1:]), _FILL_BYTES):
            wide = np.empty((len(some), *out.shape[1:]))
            gather(rows[some], wide)
            wide -= self.shift
            wide *= self.factor
            with np.errstate(over="ignore"):  # the run refuses infinity, and says where it came up
                out[some[0] : some[-1] + 1] = wide

    def restore(self, y: NDArray[Any]) -> Floats:
        """What was scaled in its own units again: the inverse, in float64."""
        return np.asarray(y / self.factor + self.shift, np.float64)

    @property
    def squared_unit(self) -> float:
        """What 1 squared is in the square of the own units, where one factor holds for all values."""
        return float(1 / self.factor**2)


UNSCALED = Scaling("none", np.array(0.0), np.array(1.0))


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
    return UNSCALED


def measure_targets(part: Part, shape: tuple[int, ...]) -> Scaling:
    """The scaling of a part's targets, which are values of that shape: each value less its mean, and one factor.

    The factor makes the mean variance 1. It is one for all values, so that each counts in the loss as it did.
    """
    moments = _Moments()
    for rows in pieces(part.count, 8 * prod(shape)):
        t = np.empty((len(rows), *shape))
        part.fill_targets(rows, t)
        moments.merge(t, t.min(axis=0), t.max(axis=0))
    spread = float(np.sqrt(np.mean(moments.squares) / moments.count))
    constant = spread < _TINY or np.array_equal(moments.low, moments.high)
    shift = np.where(moments.low == moments.high, moments.low, moments.mean)
    return Scaling("standard", shift, np.array(1.0 if constant else 1 / spread))


def check_finite(part: Part, where: str) -> None:
    """Raise DataError naming the first row and feature of the part that is NaN or infinite.

    Targets need no such check: opening the set has made it.
    """
    for _ in _finite_pieces(part, where):
        pass


def _finite_pieces(part: Part, where: str) -> Iterator[tuple[Floats, Floats, Floats]]:
    """The part piece by piece, in one buffer that is used again, with the least and greatest of each feature."""
    buffer = np.empty((0, *part.shape))
    for rows in pieces(part.count, 8 * prod(part.shape)):
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
