"""Reader of IDX, the format of MNIST and its kin: a folder of images and labels, each file .gz or not.

Source of the format: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.gather import reading
from mpipipe.data.table import Found, Table, Wanted, make_table
from mpipipe.errors import DataError

NEEDED = "an IDX file"
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path, wanted: Wanted) -> Found:
    """A folder of IDX files, its t10k part as test part; or, where no targets are wanted, one file of images.

    Raises DataError for a missing or damaged file and for counts of images and labels that differ.
    """
    if path.is_dir():
        return _read_folder(path, wanted)
    if wanted.targets:
        raise DataError(str(path), "one IDX file has images or labels, not both", "the folder that holds both files")
    return Found(make_table(str(path), read_file(path, images=True), None))


def read_file(path: Path, images: bool) -> NDArray[Any]:
    """The array in one IDX file: (n, ...) images or (n,) labels. Raises DataError naming what disagrees."""
    with reading(str(path), NEEDED):
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
    return _parse(str(path), content, images)


def _parse(where: str, content: bytes, images: bool) -> NDArray[Any]:
    needed = "00 00, a type from 08 to 0E, and " + ("02 or more for images" if images else "01 for labels")
    start = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < start:
        raise DataError(where, f"truncated: {len(content)} bytes, less than its header", NEEDED)
    if content[:2] != b"\0\0" or content[2] not in _TYPES or (content[3] < 2 if images else content[3] != 1):
        raise DataError(where, f"its first four bytes are {content[:4].hex(' ').upper()}", needed)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=content[3], offset=4))
    dtype = np.dtype(_TYPES[content[2]])
    size = math.prod(shape) * dtype.itemsize
    if len(content) - start != size:
        found = f"{len(content) - start} bytes follow the header"
        raise DataError(where, found, f"{size} bytes for shape {shape}", "truncated or damaged: download it again")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _read_folder(path: Path, wanted: Wanted) -> Found:
    train, test = (_read_part(path, name, wanted) for name in ("train", "t10k"))
    if train is None and test is not None and not wanted.targets:
        train = test
    if train is None:
        needed = "train-images-idx3-ubyte and train-labels-idx1-ubyte, .gz or not"
        raise DataError(str(path), "a folder without IDX training images", needed)
    return Found(train, test)


def _read_part(path: Path, part: str, wanted: Wanted) -> Table | None:
    images = _find(path, part, "images", 3)
    if images is None:
        return None
    if not wanted.targets:
        return make_table(str(images), read_file(images, images=True), None)
    labels = _find(path, part, "labels", 1)
    if labels is None:
        raise DataError(str(path), f"{images.name} has no labels", f"{part}-labels-idx1-ubyte, .gz or not")
    x, y = read_file(images, images=True), read_file(labels, images=False)
    return make_table(f"{images}, {labels.name}", x, y)


def _find(path: Path, part: str, kind: str, axes: int) -> Path | None:
    names = (f"{part}-{kind}{mark}idx{axes}-ubyte{gz}" for mark in "-." for gz in ("", ".gz"))
    return next((path / name for name in names if (path / name).is_file()), None)
