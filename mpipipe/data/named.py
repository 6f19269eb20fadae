"""Which of a file's named arrays are which: common to .npz and HDF5."""

from collections.abc import Callable, Mapping

from mpipipe.data.gather import Stored
from mpipipe.data.table import Found, Table, Wanted, make_table
from mpipipe.errors import DataError

TRAIN = (("x", "y"), ("x_train", "y_train"))
TEST = (("test/x", "test/y"), ("x_test", "y_test"))


def named_tables(where: str, names: Mapping[str, str], load: Callable[[str], Stored], wanted: Wanted) -> Found:
    """The tables that a file's arrays form. `load` opens one array by name. Raises DataError where one is missing.

    `names` gives for each name in the file "" or, where it is no array, what it is.
    """
    train = next((pair for pair in TRAIN if names.get(pair[0]) == ""), None)
    if train is None:
        needed = "an array x (with y), or x_train (with y_train)"
        raise DataError(where, f"holds {_listed(names)}", needed)
    test = next((pair for pair in TEST if pair[0] in names), None)

    def table(pair: tuple[str, str]) -> Table:
        x, y = pair
        for name in pair if wanted.targets else (x,):
            if name not in names:
                raise DataError(where, f"holds {x} but no {name}", f"an array {name} of targets")
            if names[name]:
                raise DataError(where, f"its {name} is {names[name]}", f"an array {name}")
        return make_table(f"{where} {x}", load(x), load(y) if wanted.targets else None)

    return Found(table(train), table(test) if test else None)


def _listed(names: Mapping[str, str]) -> str:
    texts = (
        (name if name.isprintable() else repr(name)) + (f" ({names[name]})" if names[name] else "") for name in names
    )
    return ", ".join(sorted(texts)[:10]) or "nothing"
