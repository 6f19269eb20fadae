"""Reader of HDF5: datasets x and y, perhaps a group test with x and y; or x_train, y_train, x_test, y_test.

Nothing but names of classes is loaded: the datasets hold the file open and `gather` reads their rows when asked.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpipipe.data.gather import Stored
from mpipipe.data.named import named_tables
from mpipipe.data.table import Found, Wanted

CACHE_BYTES = 32 * 2**20


def read(path: Path, wanted: Wanted) -> Found:
    """The datasets of an HDF5 file, left on disk. Raises DataError for a missing one, OSError for damage."""
    file = h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    names = [str(name) for name in (*file, "test/x", "test/y") if isinstance(file.get(name), h5py.Dataset)]
    return named_tables(str(path), names, lambda name: _open(file[name]), wanted)


def _open(dataset: Any) -> Stored:
    return np.array(dataset.asstr()[:], dtype=str) if h5py.check_string_dtype(dataset.dtype) else dataset
