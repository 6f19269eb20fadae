"""Which of a file's named arrays are which: common to .npz and HDF5."""

from collections.abc import Callable, Collection

from mpipipe.data.gather import Stored
from mpipipe.data.table import Found, Table, Wanted, make_table
from mpipipe.errors import DataError

TRAIN = (("x", "y"), ("x_train", "y_train"))
TEST = (("test/x", "test/y"), ("x_test", "y_test"))


def named_tables(where: str, names: Collection[str], load: Callable[[str], Stored], wanted: Wanted) -> Found:
    """The tables that a file's arrays form. `load` opens one array by name. Raises DataError where one is missing."""
    train = next((pair for pair in TRAIN if pair[0] in names), None)
    if train is None:
        listed = ", ".join(name if name.isprintable() else repr(name) for name in sorted(names)[:10]) or "nothing"
        raise DataError(where, f"holds {listed}", "an array x (with y), or x_train (with y_train)")
    test = next((pair for pair in TEST if pair[0] in names), None)

    def table(pair: tuple[str, str]) -> Table:
        x, y = pair
        if wanted.targets and y not in names:
            raise DataError(where, f"holds {x} but no {y}", f"an array {y} of targets")
        return make_table(f"{where} {x}", load(x), load(y) if wanted.targets else None)

    return Found(table(train), table(test) if test else None)
