"""Reader of .npz: arrays x and y, or x_train, y_train and perhaps x_test, y_test. Never unpickles."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.named import named_tables
from mpipipe.data.table import Found, Wanted
from mpipipe.errors import DataError

NEEDED = "an .npz file as numpy.savez writes it"


def read(path: Path, wanted: Wanted) -> Found:
    """The arrays of a .npz file, in memory. Raises DataError for a missing one, ValueError and kin for damage."""
    with path.open("rb") as content:
        file = np.load(content, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            remedy = "put features and targets into one: numpy.savez(FILE, x=..., y=...)"
            raise DataError(str(path), "is not a zip archive of arrays", NEEDED, remedy)
        members = file.zip.namelist() if file.zip else []
        if members and not any(name.endswith(".npy") for name in members):
            listed = ", ".join(map(repr, members[:5])) + (" and more" if len(members) > 5 else "")
            found = f"is a zip archive of {listed}, without arrays"
            raise DataError(str(path), found, NEEDED, "unpack it, and name a file of it")
        return named_tables(str(path), dict.fromkeys(file.files, ""), lambda name: _load(path, file, name), wanted)


def _load(path: Path, file: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(file[name])
    except ValueError as reason:
        if "allow_pickle" not in str(reason):
            raise
        found = f"its array {name} cannot be read: it holds Python objects"
        raise DataError(str(path), found, "an array of numbers or of names", "save it as numbers") from None
