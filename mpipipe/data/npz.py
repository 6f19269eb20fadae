"""Reader of .npz: arrays x and y, or x_train, y_train and perhaps x_test, y_test. Never unpickles."""

from pathlib import Path

import numpy as np

from mpipipe.data.named import named_tables
from mpipipe.data.table import Found, Wanted
from mpipipe.errors import DataError


def read(path: Path, wanted: Wanted) -> Found:
    """The arrays of a .npz file, in memory. Raises DataError for a missing one, ValueError and kin for damage."""
    with path.open("rb") as content:
        file = np.load(content, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise DataError(str(path), "is not a zip archive of arrays", "an .npz file as numpy.savez writes it")
        return named_tables(str(path), file.files, lambda name: np.asarray(file[name]), wanted)
