"""Opening a data set: which reader, which targets, which part validates.

A new format is one small file with a `read` and one line in READERS.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from math import prod
from pathlib import Path

import numpy as np

from mpipipe.data import contents, csv, hdf5, idx, npz, text
from mpipipe.data.gather import reading
from mpipipe.data.split import AUTO_FRACTION, AUTO_TAIL, held_count, hold_back
from mpipipe.data.table import Found, Table, Wanted
from mpipipe.data.targets import settle, target_shape
from mpipipe.data.types import DataSet, Part
from mpipipe.errors import DataError, nearest
from mpipipe.job import DataSettings

READERS: dict[str, Callable[[Path, Wanted], Found]] = {
    ".csv": csv.read,
    ".csv.gz": csv.read,
    ".npz": npz.read,
    ".h5": hdf5.read,
    ".hdf5": hdf5.read,
    ".txt": text.read,
    ".txt.gz": text.read,
    "-ubyte": idx.read,
    "-ubyte.gz": idx.read,
}
_BY_CONTENT = {
    contents.HDF5: hdf5.read,
    contents.ZIP: npz.read,
    contents.IDX: idx.read,
    contents.IDX + contents.PACKED: idx.read,
}
_TEXTS = (contents.TEXT, contents.UTF16, contents.BINARY, contents.EMPTY)
_SETS = Path(str(resources.files("mpipipe.data"))) / "sets"
_NO_ROWS = np.empty(0, np.int64)


def shipped_sets() -> list[str]:
    """The names of the data sets that come with the package."""
    return sorted(path.stem for path in _SETS.glob("*.h5"))


def open_data(
    settings: DataSettings,
    labels: bool,
    seed: int,
    all_rows: bool = False,
    *,
    classes: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    trained: str | None = None,
) -> DataSet:
    """The data set that a job names, split into a training and a validation part.

    `labels` says whether the loss needs class labels or float values. `all_rows` leaves nothing out: validation is
    the set's own test part or, where it has none, every row. `classes` and `columns` are those a trained model knows;
    names are then numbered, and CSV columns picked, in that order; `trained` is `DataSet.tokens` of what it was trained
    on, None where there is no model yet. Raises DataError for whatever cannot be used.
    """
    wanted = Wanted(settings.target, True, labels, columns, classes, settings.tokens, settings.context, trained)
    found = settle(_read(settings.path, wanted), wanted)
    whole, test = Part(found.train, None, found.columns, found.notices), None
    if found.test:
        test = Part(_like(found.test, found.train, labels), None, found.columns, found.notices)
    if all_rows:
        train, validation = whole, test or whole
    elif isinstance(settings.validation, str) and settings.validation != "auto":
        train, validation = whole, _other(settings.validation, found, wanted)
    elif settings.validation == "auto" and test:
        train, validation = whole, test
    elif found.tokens:
        train, validation = _cut(whole, found.train, _fraction(settings, AUTO_TAIL))
    else:
        train, validation = _split(whole, _fraction(settings, AUTO_FRACTION), seed)
    shape = target_shape(found.train, labels)
    return DataSet(settings.path, train, validation, labels, shape, found.classes, found.columns, found.tokens)


def open_inputs(path: str, shape: tuple[int, ...], columns: tuple[str, ...], target: str) -> Part:
    """Samples to predict, without targets: the set's own test part where it has one, else all of it.

    `shape` is the model's sample shape; samples of as many elements are reshaped to it. CSV features are picked by
    name where `columns` gives names, else all but the target column. Raises DataError for whatever cannot be used.
    """
    found = _read(path, Wanted(target, targets=False, columns=columns))
    return Part(_reshaped(found.test or found.train, shape, "the model's"), None, found.columns, found.notices)


def _read(path: str, wanted: Wanted) -> Found:
    shipped = shipped_sets()
    with reading(path, "an undamaged file that may be read"):
        place = _SETS / f"{path}.h5" if path in shipped else Path(path).expanduser()
        if not path or not (place.exists() or idx.is_set(place)):
            found = f"no such file or folder '{path}', and no shipped set of that name" if path else "no path is given"
            hint = nearest(path, shipped).replace("known are", "shipped sets are") if path else "name it by --data"
            raise DataError("data", found, "a file, a folder or a shipped set", hint)
        return _reader(place, wanted)(place, wanted)


def _reader(place: Path, wanted: Wanted) -> Callable[[Path, Wanted], Found]:
    """By what a file is where that is sure; else by its name; else, where tokens of a text are asked for, as a text."""
    if place.is_dir() or not place.exists():
        return idx.read  # a folder, or the name of a set in one
    if not place.is_file():
        raise DataError(str(place), "neither a file nor a folder", "a file that can be read more than once")
    kind = contents.kind_of_file(place)
    suffix = next((suffix for suffix in READERS if place.name.lower().endswith(suffix)), "")
    named = READERS.get(suffix)
    if named is text.read:
        return named
    if kind in _BY_CONTENT:
        return _BY_CONTENT[kind]
    if named in (csv.read, None) and (wanted.tokens == "bytes" or wanted.trained):
        return text.read
    if named is idx.read or (named is npz.read and kind == contents.NPY):
        return named  # says best what is wrong with it
    if named is csv.read and (kind.removesuffix(contents.PACKED) in _TEXTS or kind == contents.DAMAGED):
        return named
    needed = f"a name ending in {', '.join(READERS)}, or a folder of IDX files"
    found = f"is {kind}" if named else f"a file of unknown format: {kind}"
    found += f"; beside it: {contents.beside(place.parent, leave_out=place)}"
    remedy = "unpack it by gunzip" if kind.endswith(contents.PACKED) else ""
    if kind == contents.TEXT and not named:
        remedy = 'to learn it as a text, set data.tokens="bytes" or give it a name ending in .txt'
    raise DataError(str(place), found, f"{suffix} data" if named else needed, remedy)


def _other(path: str, trained: Found, wanted: Wanted) -> Part:
    """All rows of another set, numbered and shaped as the training set is."""
    wanted = replace(wanted, columns=trained.columns, classes=trained.classes, trained=trained.tokens)
    found = settle(_read(path, wanted), wanted)
    if found.classes != trained.classes:
        raise DataError(path, "its targets are names of classes", "whole numbers, as the training set has")
    return Part(_like(found.train, trained.train, wanted.labels), None, found.columns, found.notices)


def _like(table: Table, train: Table, labels: bool) -> Table:
    """The table with samples of the training part's shape."""
    found, needed = target_shape(table, labels), target_shape(train, labels)
    if found != needed:
        raise DataError(table.where, f"{prod(found)} values a target", f"{prod(needed)}, as the training part has")
    return _reshaped(table, train.shape, "the training part's")


def _fraction(settings: DataSettings, auto: float) -> float:
    return auto if settings.validation == "auto" else float(settings.validation)


def _cut(whole: Part, table: Table, fraction: float) -> tuple[Part, Part]:
    """A text's beginning and its tail, cut between two windows; no token of the tail is a target of the beginning."""
    first = table.count - held_count(table.count, fraction)
    if first == table.count:
        return whole, replace(whole, rows=_NO_ROWS)
    return replace(whole, source=text.cut(table, first)), replace(whole, rows=np.arange(first, table.count))


def _split(whole: Part, fraction: float, seed: int) -> tuple[Part, Part]:
    if fraction <= 0:
        return whole, replace(whole, rows=_NO_ROWS)
    train, held = hold_back(whole.count, fraction, seed)
    return replace(whole, rows=train), replace(whole, rows=held)


def _reshaped(table: Table, shape: tuple[int, ...], whose: str) -> Table:
    if prod(table.shape) != prod(shape):
        raise DataError(table.where, f"samples of shape {table.shape}", f"{whose} shape {shape}, or as many elements")
    return replace(table, shape=shape)
