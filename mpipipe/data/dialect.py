"""How a table in a text file is written: its encoding, what separates its cells, its quotes; and its rows as cells.

It knows nothing of what the cells mean. The rules of quotes are those of RFC 4180, section 2, kept strictly: a quote
that is never closed would take all rows that follow it into one cell.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mpipipe.errors import DataError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a |"}
QUOTES = "quotes in pairs around a whole cell, and a quote inside of it written twice"
_GZIP = b"\x1f\x8b"
_SEP_LINE = re.compile(r'"?sep=([^"\w\r\n])"?[,;]*\s*', re.IGNORECASE)  # the first line that Excel writes or wants


@dataclass(frozen=True)
class Row:
    """The cells of one row; `line` is where it begins, counted from 1; `lines` are its lines as they are written."""

    line: int
    cells: list[str]
    lines: tuple[str, ...]


def open_text(path: Path) -> TextIO:
    """The file as text: UTF-8 or UTF-16, with a byte order mark or not, gzip'ed or not. Line ends are left alone."""
    with path.open("rb") as file:
        head = file.read(2)
    if path.name.lower().endswith(".gz") or head == _GZIP:
        with gzip.open(path) as packed:
            head = packed.read(2)
        return gzip.open(path, "rt", encoding=_encoding(head), newline="")
    return path.open(encoding=_encoding(head), newline="")


def read_rows(where: str, file: TextIO, names: tuple[str, ...]) -> tuple[str, Iterator[Row]]:
    """What separates the cells, and all rows that are not blank, the header first, each with as many cells as that.

    `names` are columns that the header should have. Raises DataError naming the line where a row begins that has
    another number of cells, or quotes that do not match.
    """
    first = _line(where, file)
    declared = _SEP_LINE.fullmatch(first)
    number = 1
    while first and (declared and number == 1 or not first.strip(" \r\n")):
        first, number = _line(where, file), number + 1
    separator = declared[1] if declared else _separator(first, names)
    return separator, _rows(where, _Lines(where, file, first, number - 1), separator)


class _Lines:
    """Lines one by one, the first given; it counts them and remembers those since `begin`."""

    def __init__(self, where: str, file: TextIO, first: str, number: int) -> None:
        self.where, self.file, self.first, self.number = where, file, first, number
        self.recent: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line, self.first = self.first or _line(self.where, self.file), ""
        if not line:
            raise StopIteration
        self.number += 1
        self.recent.append(line)
        return line


def _rows(where: str, lines: _Lines, separator: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    width = 0
    while True:
        begin, lines.recent = lines.number + 1, []
        place = f"{where} line {begin}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as reason:
            raise _unreadable(place, lines, reason) from reason
        written = tuple(lines.recent)
        if len(written) == 1 and not written[0].strip(" \r\n"):
            continue
        width = width or len(cells)
        if any('"' in line for line in written):
            _check_quotes(place, written, separator, width)
        if len(cells) != width:
            raise DataError(place, f"{len(cells)} cells", f"{width} cells, as the header has")
        yield Row(begin, cells, written)


def _check_quotes(place: str, written: tuple[str, ...], separator: str, width: int) -> None:
    """A row has an even number of quotes; and if it goes over several lines, these do not look like rows each."""
    if sum(line.count('"') for line in written) % 2:
        raise DataError(place, "a quote without its partner", QUOTES)
    filled = [line for line in written if line.strip(" \r\n")]
    if len(filled) > 1 and all(line.count(separator) >= width - 1 for line in filled):
        found = f"a quote is opened in this line and closed only {len(written) - 1} lines later, after whole rows"
        raise DataError(place, found, QUOTES)


def _unreadable(place: str, lines: _Lines, reason: csv.Error) -> DataError:
    if not any('"' in line for line in lines.recent):
        return DataError(place, f"cannot be read ({reason})", "a row of cells")
    where = "" if len(lines.recent) == 1 else f", up to line {lines.number}"
    return DataError(place, f"a quote is opened, and not closed at the end of its cell{where}", QUOTES)


def _separator(header: str, names: tuple[str, ...]) -> str:
    """That which gives the names that are needed, else the most cells; a comma where that leaves a choice."""

    def merit(separator: str) -> tuple[bool, int]:
        # not strict, for the header may go on in the next line; its quotes are checked when it is read
        cells = [" ".join(cell.split()) for cell in next(csv.reader([header], delimiter=separator), [])]
        return all(name in cells for name in names), len(cells)

    return max(SEPARATORS, key=merit)


def _line(where: str, file: TextIO) -> str:
    try:
        return file.readline()
    except UnicodeDecodeError as reason:
        found = f"cannot be read (it is not {reason.encoding.upper()}: {reason.reason})"
        remedy = 'save it as "CSV UTF-8", or convert it by iconv'
        raise DataError(where, found, "text in UTF-8 or UTF-16", remedy) from reason


def _encoding(head: bytes) -> str:
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(head) == 2 and b"\0" in head:
        return "utf-16-be" if head[0] == 0 else "utf-16-le"
    return "utf-8-sig"
