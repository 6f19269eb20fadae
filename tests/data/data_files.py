"""Small data sets in every format, as the tests of this folder need them."""

import csv
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from mpipipe.data import DataSet, Part, open_data
from mpipipe.errors import DataError
from mpipipe.job import DataSettings

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def save(path, content):
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def idx_bytes(values):
    header = bytes((0, 0, CODES[values.dtype.str[1:]], values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def save_idx(folder, part, x, y, mark="-", gz=""):
    folder.mkdir(exist_ok=True)
    save(folder / f"{part}-images{mark}idx3-ubyte{gz}", idx_bytes(x))
    save(folder / f"{part}-labels{mark}idx1-ubyte{gz}", idx_bytes(y))
    return folder


def save_csv(path, header, rows):
    lines = Path(str(path) + ".plain")
    with lines.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return save(path, lines.read_bytes())


def open_path(path, labels=True, **more):
    options = {key: more.pop(key) for key in ("seed", "all_rows", "classes", "columns", "trained") if key in more}
    return open_data(DataSettings(path=str(path), **more), labels, options.pop("seed", 1), **options)


def features(part: Part, dtype=np.float64):
    x = np.empty((part.count, *part.shape), dtype)
    part.fill(np.arange(part.count), x)
    return x


def targets(data: DataSet, part: Part):
    t = np.empty((part.count, *data.target_shape), np.int64 if data.labels else np.float64)
    part.fill_targets(np.arange(part.count), t)
    return t


def refused(call, *words):
    """Call, expect a DataError of one line, and find every word in it."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message
