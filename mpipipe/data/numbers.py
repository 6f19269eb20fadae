"""Numbers as they are written in the cells of a table: ASCII decimals, with a point or, in some files, a comma."""

import re
from collections.abc import Sequence

_COMMA = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*|\s*[+-]?\d+,(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)


class Numbers:
    """Reads the cells of one file. Where cells are not separated by commas, `comma` allows decimal commas.

    The first number with a point or a comma decides which of the two the whole file has: with commas a point might
    group thousands, and the other way round, so a mixture is refused.
    """

    def __init__(self, comma: bool = False) -> None:
        self._mark = "" if comma else "."
        self._example: tuple[str, int] | None = None

    def read(self, cells: Sequence[str], line: int) -> list[float]:
        """The numbers in the cells of a line. Raises ValueError where one has none."""
        if self._mark == ".":
            values = [float(cell) for cell in cells]
            text = "".join(cells)
            if "_" not in text and text.isascii():
                return values
        return [self._one(cell, line) for cell in cells]

    def is_number(self, cell: str) -> bool:
        """Whether `read` takes the cell, by the mark known so far."""
        try:
            _number(cell, self._mark)
        except ValueError:
            return False
        return True

    def needed(self, cell: str) -> tuple[str, str]:
        """For an error on a cell that is not a number: what is needed, and perhaps what to do."""
        if self._example and "." in cell:
            return f"a number with a comma, as {self._example[0]} in line {self._example[1]}", "write all in one way"
        if self._mark == "." and _COMMA.fullmatch(cell):
            return "a number with a decimal point", "write 1.5 for 1,5"
        return "a number in the digits 0 to 9, such as -1.5e3", ""

    def notices(self, where: str) -> list[str]:
        """What the user should know of how numbers were read."""
        if self._example is None:
            return []
        cell, line = self._example
        return [f"{where}: commas in numbers are decimal commas ({cell} in line {line} is {cell.replace(',', '.')})"]

    def _one(self, cell: str, line: int) -> float:
        value = _number(cell, self._mark)
        if not self._mark and "," in cell:
            self._mark, self._example = ",", (cell.strip(), line)
        elif not self._mark and "." in cell:
            self._mark = "."
        return value


def _number(cell: str, mark: str) -> float:
    """The number of a cell whose decimal mark is `mark`, or either where that is empty. Raises ValueError."""
    cell = cell.strip()
    if not cell.isascii() or "_" in cell or (mark == "," and "." in cell):
        raise ValueError(cell)
    if mark != "." and _COMMA.fullmatch(cell):
        return float(cell.replace(",", "."))
    return float(cell)
