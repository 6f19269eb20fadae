"""Reader of IDX, the format of MNIST and its kin: a folder of images and labels, each file gzip'ed or not.

A folder may hold several sets whose files begin with the set's name, as EMNIST's do, or have its files in folders of
their own. The path of a set is the folder's with that name: `emnist/emnist-letters`.

Source of the format: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

import math
import re
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.contents import beside, files_below, kind_of, unpacked
from mpipipe.data.gather import reading
from mpipipe.data.table import Found, Table, Wanted, make_table
from mpipipe.errors import DataError

NEEDED = "an IDX file"
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(
    r"(?P<set>.*?)[-_. ]?(?P<part>train|t10k|test)[-_. ](?P<kind>images|labels)[-_. ]idx\d[-_. ]\w+(\.gz)?",
    re.IGNORECASE,
)
_DEPTH = 4  # folders within each other that are looked into
_SHALLOW = 2  # a set named by its folder lies in it, or in folders named as its files

Files: TypeAlias = dict[tuple[str, str], Path]
"""By part ("train" or "test") and kind ("images" or "labels")."""


def read(path: Path, wanted: Wanted) -> Found:
    """A set of IDX files, its t10k or test part as test part; or, where no targets are wanted, one file of images.

    Raises DataError for a missing or damaged file, for counts of images and labels that differ, and for a folder of
    several sets.
    """
    if path.is_file():
        if wanted.targets:
            own = next((name for name, files in _sets(path.parent, 1).items() if path in files.values()), None)
            found = f"one IDX file has images or labels, not both; beside it: {beside(path.parent, leave_out=path)}"
            raise DataError(
                str(path), found, "the folder that holds both", f"name the set: --data {own}" if own else ""
            )
        return Found(make_table(str(path), read_file(path, images=True), None))
    files = _choose(path)
    train, test = (_read_part(files, part, wanted) for part in ("train", "test"))
    if train is None and not wanted.targets:
        train = test
    if train is None:
        needed = "train-images-idx3-ubyte and train-labels-idx1-ubyte, .gz or not"
        raise DataError(str(path), f"a folder without IDX training images; in it: {beside(path, _DEPTH)}", needed)
    return Found(train, test)


def is_set(path: Path) -> bool:
    """Whether a path names one of the sets in a folder."""
    return bool(path.name) and path in _sets(path.parent, _SHALLOW)


def read_file(path: Path, images: bool) -> NDArray[Any]:
    """The array in one IDX file: (n, ...) images or (n,) labels. Raises DataError naming what disagrees."""
    with reading(str(path), NEEDED):
        content = unpacked(path)
    return _parse(str(path), content, images)


def _parse(where: str, content: bytes, images: bool) -> NDArray[Any]:
    needed = "00 00, a type from 08 to 0E, and " + ("02 or more for images" if images else "01 for labels")
    if len(content) >= 4 and (
        content[:2] != b"\0\0" or content[2] not in _TYPES or (content[3] < 2 if images else content[3] != 1)
    ):
        raise DataError(where, f"its first four bytes are {content[:4].hex(' ').upper()}: {kind_of(content)}", needed)
    start = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < start:
        raise DataError(where, f"truncated: {len(content)} bytes, less than its header", NEEDED)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=content[3], offset=4))
    dtype = np.dtype(_TYPES[content[2]])
    size = math.prod(shape) * dtype.itemsize
    if len(content) - start != size:
        found = f"{len(content) - start} bytes follow the header"
        raise DataError(where, found, f"{size} bytes for shape {shape}", "truncated or damaged: download it again")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _choose(path: Path) -> Files:
    """The files of the set that a path names, be it by a folder that holds no other; none where there is no set.

    Raises DataError where there are several, naming them.
    """
    if not path.is_dir():
        return _sets(path.parent, _SHALLOW)[path]
    sets = _sets(path, _DEPTH)
    depth = min((len(folder.parts) for folder in sets), default=0)
    chosen = [name for name in sets if len(name.parts) == depth]
    if len(chosen) > 1:
        listed = ", ".join(str(name.relative_to(path)) for name in chosen[:10]) + (" ..." if len(chosen) > 10 else "")
        raise DataError(str(path), f"holds {len(chosen)} IDX sets: {listed}", "one", f"name one: --data {chosen[0]}")
    return sets[chosen[0]] if chosen else {}


def _sets(folder: Path, depth: int) -> dict[Path, Files]:
    """The sets in a folder and in its folders, by path. Of two files for the same, the one that is not .gz is taken."""
    sets: dict[Path, Files] = {}
    for path in files_below(folder, depth):
        match = _NAME.fullmatch(path.name)
        if match:
            # some unpackers put each file into a folder of its own name
            own = path.parent.name.lower() == path.name.lower().removesuffix(".gz")
            part = "train" if match["part"].lower() == "train" else "test"
            key = (path.parent.parent if own else path.parent) / match["set"]
            sets.setdefault(key, {}).setdefault((part, match["kind"].lower()), path)
    return sets


def _read_part(files: Files, part: str, wanted: Wanted) -> Table | None:
    images, labels = files.get((part, "images")), files.get((part, "labels"))
    if images is None:
        return None
    if not wanted.targets:
        return make_table(str(images), read_file(images, images=True), None)
    if labels is None:
        needed = f"{images.name.replace('images', 'labels').replace('idx3', 'idx1')}, .gz or not"
        found = f"{images.name} has no labels; beside it: {beside(images.parent)}"
        raise DataError(str(images.parent), found, needed)
    x, y = read_file(images, images=True), read_file(labels, images=False)
    return make_table(f"{images}, {labels.name}", x, y)
