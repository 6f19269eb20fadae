"""Rows out of an array in memory, of a text or an open HDF5 file, in bounded memory; and damage told as one clear line.

HDF5 reads ascending rows only, and a run of rows much faster than as many scattered ones: `gather` sorts, reads, and
puts each row in its place.
"""

import csv
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from mpipipe.data.types import Rows64
from mpipipe.data.windows import Windows
from mpipipe.errors import DataError

Stored: TypeAlias = NDArray[Any] | h5py.Dataset | Windows
PIECE_BYTES = 4 * 2**20
SMALL_BYTES = 512
DENSE = 8  # a run is read whole when at least one row in this many is wanted
_DAMAGE = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, RuntimeError)
_DAMAGE_TOO = (zlib.error, zipfile.BadZipFile, csv.Error)


@contextmanager
def reading(where: str, needed: str) -> Iterator[None]:
    """Whatever a library raises on a missing, truncated or damaged file becomes a DataError naming the file."""
    try:
        yield
    except MemoryError as reason:
        raise DataError(where, "does not fit in memory", needed, "HDF5 files are read in pieces") from reason
    except (*_DAMAGE, *_DAMAGE_TOO) as reason:
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else " ".join(str(reason).split())
        raise DataError(where, f"cannot be read ({why or type(reason).__name__})", needed) from reason


def pieces(count: int, row_bytes: int, piece_bytes: int = 0) -> Iterator[Rows64]:
    """The row numbers 0 to count - 1 in runs whose rows need about `piece_bytes` (or PIECE_BYTES) of memory."""
    step = max(1, (piece_bytes or PIECE_BYTES) // max(1, row_bytes))
    for begin in range(0, count, step):
        yield np.arange(begin, min(begin + step, count), dtype=np.int64)


def gather(stored: Stored, rows: Rows64, out: NDArray[Any]) -> None:
    """Put the given rows, in that order, into out of shape (len(rows), ...), cast and reshaped as out needs them.

    Raises DataError where the file turns out to be damaged.
    """
    if isinstance(stored, Windows):
        stored.fill(rows, out)
    elif isinstance(stored, np.ndarray):
        with np.errstate(all="ignore"):  # a NaN on the way is refused by the caller, not printed as a warning
            _take(stored, rows, out)
    elif len(rows):
        order = np.argsort(rows, kind="stable")
        with np.errstate(all="ignore"), reading(f"{stored.file.filename} {stored.name}", "an undamaged HDF5 file"):
            for places, block in _blocks(stored, rows[order]):
                out[order[places]] = block.reshape(-1, *out.shape[1:])


def _take(stored: NDArray[Any], rows: Rows64, out: NDArray[Any]) -> None:
    """Large rows one by one, for they need no copy on the way; small ones together."""
    if stored[:1].nbytes < SMALL_BYTES:
        out[...] = np.take(stored, rows, axis=0).reshape(out.shape)
        return
    for place, row in enumerate(rows):
        out[place] = stored[row].reshape(out.shape[1:])


def _blocks(stored: h5py.Dataset, ascending: Rows64) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Pieces of `ascending`, each as a slice of it, with their rows as read from the file."""
    step = max(1, PIECE_BYTES // (stored.dtype.itemsize * int(np.prod(stored.shape[1:]))))
    first, last = int(ascending[0]), int(ascending[-1])
    if last - first < DENSE * len(ascending):
        for low in range(first, last + 1, step):
            begin, end = np.searchsorted(ascending, (low, low + step))
            yield slice(begin, end), stored[low : min(low + step, last + 1)][ascending[begin:end] - low]
    else:
        for begin in range(0, len(ascending), step):
            some = slice(begin, begin + step)
            once, copies = np.unique(ascending[some], return_inverse=True)
            yield some, stored[once][copies]
