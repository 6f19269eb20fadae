"""Reader of HDF5: datasets x and y, perhaps a group test with x and y; or x_train, y_train, x_test, y_test.

Nothing but names of classes has to be in memory: the datasets hold the file open and `gather` reads their rows when
asked. Rows taken at random from chunks are slow, though, for whole chunks are unpacked for each of them. So data sets
in chunks, and virtual ones, are read into memory where a part of what is free is enough for them; of others, which are
read through a cache of that size, a notice is given.
"""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p

from mpipipe.data.gather import Stored, reading
from mpipipe.data.hdf5_open import NEEDED, open_file, place
from mpipipe.data.hdf5_virtual import pieces_of
from mpipipe.data.hdf5_written import blank_rows, check_written, grid
from mpipipe.data.named import TEST, TRAIN, named_tables
from mpipipe.data.table import Found, Wanted
from mpipipe.resources import memory

RESIDENT_SHARE = 0.25
"""Of the memory that is free, what one data set may take."""
_SLOW = 4  # bytes to unpack for each byte of a sample that are worth a notice
_SLOTS = 2**22  # of 8 bytes each
_LISTED = 1000
_TARGETS = tuple(y for _, y in (*TRAIN, *TEST))


def read(path: Path, wanted: Wanted) -> Found:
    """The datasets of an HDF5 file. Raises DataError for one that is missing or incomplete, OSError for damage."""
    file = open_file(path)
    notices: list[str] = []

    def load(name: str) -> Stored:
        stored, told = _open(file, name)
        notices.extend(told)
        return stored

    found = named_tables(str(path), _names(file), load, wanted)
    return replace(found, notices=tuple(notices))


def _names(file: h5py.File) -> dict[str, str]:
    """The names of a file's data sets with "", and of anything else with what it is."""
    names = {str(name): _kind(file, name) for name in islice(file, _LISTED)}
    names |= {name: _kind(file, name) for pair in (*TRAIN, *TEST) for name in pair if _is_linked(file, name)}
    if names.get("test", "").startswith("a link"):  # a test part that is gone is not one that was never there
        names[TEST[0][0]] = names["test"]
    return names


def _kind(file: h5py.File, name: str) -> str:
    try:
        thing = file[name]
    except (KeyError, OSError, RuntimeError):
        link = file.get(name, getlink=True)
        aim = f"{link.filename}:{link.path}" if isinstance(link, h5py.ExternalLink) else getattr(link, "path", "it")
        return f"a link to {aim}, which cannot be opened"
    if isinstance(thing, h5py.Group):
        return f"a group of {', '.join(islice(thing, 5)) or 'nothing'}"
    return "" if isinstance(thing, h5py.Dataset) else "no data set"


def _is_linked(file: h5py.File, name: str) -> bool:
    try:
        return file.get(name, getlink=True) is not None
    except (KeyError, OSError, RuntimeError):
        return False


def _open(file: h5py.File, name: str) -> tuple[Stored, list[str]]:
    """A data set, in memory or not, and what the reader should know of it."""
    dataset = file[name]
    where, fill, notices = place(dataset), dataset.fillvalue, list[str]()
    with reading(where, NEEDED):
        check_written(dataset)
        if h5py.check_string_dtype(dataset.dtype):
            return np.array(dataset.asstr()[:], dtype=str), []
        if not dataset.shape or 0 in dataset.shape or dataset.dtype.kind not in "buif":
            return dataset, []  # the caller refuses it, for what it is
        if dataset.chunks or dataset.is_virtual:
            room = int(RESIDENT_SHARE * memory()[1])
            if dataset.size * dataset.dtype.itemsize <= room:
                dataset = dataset[...]
            else:
                notices = _slow_notices(dataset)
                settings = _cache(dataset, room)
                del dataset  # as long as it is open, its cache stays as it is
                dataset = h5py.Dataset(h5d.open(file.id, name.encode(), settings))
        blank = blank_rows(dataset, fill, sorted_first=name in _TARGETS)
    return dataset, [*notices, *([f"{where}: {blank}"] if blank else [])]


def _cache(dataset: h5py.Dataset, room: int) -> Any:
    """Access to a data set, or to the sources of a virtual one, by a chunk cache of so many bytes.

    None at all where chunks are not packed: HDF5 then reads no more of a chunk than is asked for. The cache has a slot
    for each chunk, for two chunks of one slot would drive each other out.
    """
    slots, sources, packed = 1, 0, False
    for piece in pieces_of(dataset):
        sources += 1
        if piece.dataset.chunks:
            packed = packed or piece.dataset.id.get_create_plist().get_nfilters() > 0
            slots = max(slots, math.prod(1 << int(count).bit_length() for count in grid(piece.dataset)))
    settings = h5p.create(h5p.DATASET_ACCESS)
    settings.set_chunk_cache(min(slots, _SLOTS), room // sources if packed else 0, 0.75)
    return settings


def _slow_notices(dataset: h5py.Dataset) -> list[str]:
    """A notice where a row costs unpacking much more than it holds: of the first such data set, if there is one."""
    for piece in pieces_of(dataset):
        stored = piece.dataset
        if stored.chunks and stored.id.get_create_plist().get_nfilters():
            row_bytes = math.prod(stored.shape[1:]) * stored.dtype.itemsize
            cost_bytes = math.prod(stored.chunks) * stored.dtype.itemsize * math.prod(grid(stored)[1:])
            if cost_bytes > _SLOW * row_bytes:
                return [_slow_text(dataset, stored, cost_bytes, row_bytes)]
    return []


def _slow_text(dataset: h5py.Dataset, stored: h5py.Dataset, cost_bytes: int, row_bytes: int) -> str:
    size = dataset.size * dataset.dtype.itemsize
    return (
        f"{place(dataset)}: its {size / 2**20:,.1f} MiB, in packed chunks of shape {stored.chunks}, are more than the "
        f"memory that is free for them, so reading is slow: for a sample of {row_bytes / 2**10:,.1f} KiB chunks of "
        f"{cost_bytes / 2**20:,.1f} MiB are unpacked; to make it fast, store it without chunks: "
        f"h5repack -f {stored.name}:NONE -l {stored.name}:CONTI {stored.file.filename} NEW"
    )
