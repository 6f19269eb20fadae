"""HDF5 data sets that are made of others: where their sources are, and whether these fill them.

Where a source is gone HDF5 gives fill values, without an error; a fill value is no sample. Where HDF5 looks for the
files: its Reference Manual, H5Pset_virtual.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
from h5py import h5s

from mpipipe.data.gather import reading
from mpipipe.data.hdf5_open import NEEDED, open_file, place
from mpipipe.errors import DataError

Shape: TypeAlias = tuple[int, ...]
WHOLE = "a data set of which every value was written"


@dataclass(frozen=True, eq=False)
class Piece:
    """A data set that holds values itself, and which of them are meant: from corner `low` up to, not with, `high`."""

    dataset: h5py.Dataset
    low: Shape
    high: Shape


def pieces_of(dataset: h5py.Dataset) -> Iterator[Piece]:
    """The data set itself or, where it is virtual, those that it is made of, each open while it is looked at.

    Raises DataError naming a source that is gone, and a virtual data set that its sources do not fill.
    """
    if dataset.is_virtual:
        _check_covered(dataset)
        for source in dataset.virtual_sources():
            for file_name, name in _names(source, dataset.shape):
                yield from _source_pieces(dataset, file_name, name, source)
    else:
        yield Piece(dataset, (0,) * len(dataset.shape), dataset.shape)


def _source_pieces(dataset: h5py.Dataset, file_name: str, name: str, mapped: Any) -> Iterator[Piece]:
    path = _source_path(dataset, file_name)
    if path is None:
        raise DataError(place(dataset), f"its source {file_name} is not there", WHOLE, "bring the file back")
    with reading(str(path), f"{NEEDED}, as source of {place(dataset)}"), open_file(path) as file:
        source = file.get(name)
        if not isinstance(source, h5py.Dataset):
            raise DataError(place(dataset), f"its source {path} has no data set '{name}'", WHOLE)
        low, high = (0,) * len(source.shape), source.shape
        try:
            if mapped.src_space.get_select_type() == h5s.SEL_HYPERSLABS:
                low, last = mapped.src_space.get_select_bounds()
                high = tuple(end + 1 for end in last)
            too_small = mapped.vspace.get_select_npoints() > source.size
        except (ValueError, RuntimeError):  # an unlimited part: as much as there is
            too_small = False
        if too_small or any(end > length for end, length in zip(high, source.shape, strict=True)):
            found = f"its source {place(source)} has shape {source.shape}, too small for what is taken from it"
            raise DataError(place(dataset), found, WHOLE)
        if source.is_virtual:
            yield from pieces_of(source)
        else:
            yield Piece(source, tuple(low), tuple(high))


def _source_path(dataset: h5py.Dataset, name: str) -> Path | None:
    """Where HDF5 finds a source file; "." is the file of the virtual data set itself."""
    own = Path(dataset.file.filename)
    if name == ".":
        return own
    prefixes = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(own.parent)).split(":")
    listed = [Path(prefix) for prefix in prefixes if prefix]
    tried: list[Path] = [Path(name)] if Path(name).is_absolute() else []
    last = Path(name).name if Path(name).is_absolute() else name
    tried += [Path(prefix, last) for prefix in [*listed, own.parent, Path(), own.resolve().parent]]
    return next((path for path in tried if path.is_file()), None)


def _names(source: Any, shape: Shape) -> Iterator[tuple[str, str]]:
    """File and data set of a source; one with %b in a name stands for as many as the virtual data set has blocks."""
    blocks = 1
    if "%b" in source.file_name + source.dset_name:
        for (begin, step, count, _), length in zip(
            zip(*source.vspace.get_regular_hyperslab(), strict=True), shape, strict=True
        ):
            blocks = max(blocks, -(-(length - begin) // step) if count == h5s.UNLIMITED else 1)
    for block in range(blocks):
        yield tuple(name.replace("%b", str(block)).replace("%%", "%") for name in (source.file_name, source.dset_name))


def _check_covered(dataset: h5py.Dataset) -> None:
    """Raises DataError where a part of a virtual data set has no source."""
    whole = (0,) * len(dataset.shape)
    covered = h5s.create_simple(dataset.shape)
    covered.select_none()
    for source in dataset.virtual_sources():
        for start, count, stride, block in _selected(source.vspace, dataset.shape):
            covered.select_hyperslab(start, count, stride, block, op=h5s.SELECT_OR)
    covered.select_hyperslab(whole, dataset.shape, op=h5s.SELECT_AND)
    there = covered.get_select_npoints()
    if there < dataset.size:
        raise DataError(place(dataset), f"only {there} of its {dataset.size} values have a source", WHOLE)


def _selected(space: Any, shape: Shape) -> Iterator[tuple[Shape, Shape, Shape, Shape]]:
    """Start, count, stride and block of a selection's hyperslabs, unlimited ones cut to the shape."""
    ones = (1,) * len(shape)
    if space.get_select_type() != h5s.SEL_HYPERSLABS:
        yield (0,) * len(shape), shape, ones, ones
    elif space.is_regular_hyperslab():
        start, stride, counts, blocks = space.get_regular_hyperslab()
        rest = [length - begin for length, begin in zip(shape, start, strict=True)]
        count = [-(-r // s) if c == h5s.UNLIMITED else c for r, s, c in zip(rest, stride, counts, strict=True)]
        block = [r if b == h5s.UNLIMITED else b for r, b in zip(rest, blocks, strict=True)]
        yield start, tuple(count), stride, tuple(block)
    else:
        for low, last in space.get_select_hyper_blocklist():
            yield tuple(low), ones, ones, tuple(end - begin + 1 for begin, end in zip(low, last, strict=True))
