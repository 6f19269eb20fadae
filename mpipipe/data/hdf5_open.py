"""HDF5 files and data sets by name, and a file that cannot be opened, said in words."""

from pathlib import Path

import h5py

from mpipipe.errors import DataError

CACHE_BYTES = 32 * 2**20
NEEDED = "an undamaged HDF5 file"
_CLOSED = "a file that no program writes to"
_OPENING = (
    ("unable to lock file", "is open for writing in another program", _CLOSED, "close it there first"),
    (
        "already open for",
        "is open for writing, or was not closed after it was last written",
        _CLOSED,
        "close it there first; where no program has it open any more, use: h5clear -s FILE",
    ),
    ("truncated file", "is truncated: it is shorter than its header says", NEEDED, "copy or download it again"),
)


def open_file(path: Path) -> h5py.File:
    """An HDF5 file, for reading. Raises DataError where it is truncated or open for writing."""
    try:
        return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    except OSError as reason:
        for words, found, needed, remedy in _OPENING:
            if words in str(reason):
                raise DataError(str(path), found, needed, remedy) from reason
        raise


def place(dataset: h5py.Dataset) -> str:
    """File and name of a data set."""
    return f"{dataset.file.filename} {dataset.name}"
