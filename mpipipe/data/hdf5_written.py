"""Whether all of an HDF5 data set was written. What was not reads as fill values without an error; a fill value is no
sample.
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5z

from mpipipe.data.gather import PIECE_BYTES, Stored, gather
from mpipipe.data.hdf5_open import place
from mpipipe.data.hdf5_virtual import WHOLE, Piece, pieces_of
from mpipipe.errors import DataError

_PROBES = 128
_CHANCE = 0.01  # of so long a run among as many blank rows that lie anywhere
_FEATURES = 4  # so many are hardly ever all of them the fill value


def check_written(dataset: h5py.Dataset) -> None:
    """Raise DataError where a part of the data set was never written, is gone, or is packed in a way unknown here."""
    if not dataset.shape or 0 in dataset.shape:
        return
    for piece in pieces_of(dataset):
        _check_filters(piece.dataset)
        if piece.dataset.external:
            _check_external(piece.dataset)
        elif piece.dataset.chunks:
            _check_chunks(piece)
        elif piece.dataset.id.get_space_status() == h5d.SPACE_STATUS_NOT_ALLOCATED:
            raise DataError(place(piece.dataset), "was made, but nothing was ever written to it", WHOLE)


def blank_rows(stored: Stored, fill: Any, sorted_first: bool) -> str:
    """Words on rows of nothing but the fill value where they are so many in a row that they can hardly be data.

    All rows of a small data set are looked at, and some all over a large one. Numbers `sorted_first` may begin with
    many rows of the fill value.
    """
    count = stored.shape[0]
    small = math.prod(stored.shape) * stored.dtype.itemsize <= PIECE_BYTES
    rows = np.unique(np.linspace(0, count - 1, count if small else _PROBES).astype(np.int64))
    values = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
    gather(stored, rows, values)
    blank = (values == fill).reshape(len(rows), -1).all(axis=1)
    edges = np.flatnonzero(np.diff(blank, prepend=False, append=False)).reshape(-1, 2)
    begin, end = max(edges.tolist(), key=lambda edge: edge[1] - edge[0], default=(0, 0))
    share = blank.mean()
    by_chance = len(rows) * share ** (end - begin) > _CHANCE and not (values[0].size >= _FEATURES and share > 0.5)
    if end == begin or (share < 1 and (by_chance or (sorted_first and begin == 0))):
        return ""
    return f"rows {rows[begin]} to {rows[end - 1]} seem to hold only {fill}, as rows do that were never written"


def grid(dataset: h5py.Dataset) -> tuple[int, ...]:
    """How many chunks there are to be along each axis."""
    return tuple(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))


def _check_filters(dataset: h5py.Dataset) -> None:
    made = dataset.id.get_create_plist()
    for i in range(made.get_nfilters()):
        code, _, _, name = made.get_filter(i)
        if not h5z.filter_avail(code):
            found = f"is packed by the HDF5 filter {code} ({name.decode(errors='replace')}), which is not installed"
            raise DataError(place(dataset), found, "gzip, lzf, or no filter", "repack it: h5repack -f GZIP=1 OLD NEW")


def _check_chunks(piece: Piece) -> None:
    """Count the chunks that there are, by their row of chunks, where the whole data set is not known to have all."""
    dataset = piece.dataset
    if dataset.id.get_num_chunks() == math.prod(grid(dataset)):
        return
    first = [low // chunk for low, chunk in zip(piece.low, dataset.chunks, strict=True)]
    last = [(high - 1) // chunk for high, chunk in zip(piece.high, dataset.chunks, strict=True)]
    there: Counter[int] = Counter()

    def count(info: Any) -> None:
        index = [offset // chunk for offset, chunk in zip(info.chunk_offset, dataset.chunks, strict=True)]
        there[index[0]] += all(a <= i <= b for a, i, b in zip(first, index, last, strict=True))

    dataset.id.chunk_iter(count)
    a_row = math.prod(b - a + 1 for a, b in zip(first[1:], last[1:], strict=True))
    total = a_row * (last[0] - first[0] + 1)
    missing = total - there.total()
    if missing:
        begin = next(i for i in range(first[0], last[0] + 1) if there[i] < a_row) * dataset.chunks[0]
        found = f"{missing} of its {total} chunks were never written, the first of them at row {begin}"
        remedy = "write them, or keep only the rows that were written"
        raise DataError(place(dataset), found, WHOLE, remedy)


def _check_external(dataset: h5py.Dataset) -> None:
    """Its values lie in files without a format, which HDF5 takes to be in the working folder unless told otherwise."""
    left = dataset.size * dataset.dtype.itemsize
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(Path(dataset.file.filename).parent))
    for name, offset, size in dataset.external:
        path, needed = Path(prefix, name), offset + min(size, left)
        left -= min(size, left)
        found = path.stat().st_size if path.is_file() else None
        if found is None or found < needed:
            what = "which is not there" if found is None else f"of which only {found} of {needed} bytes are there"
            raise DataError(place(dataset), f"lies in the file {path.absolute()}, {what}", WHOLE)
