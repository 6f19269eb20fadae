"""metrics.csv: a row a step, kept in step with the checkpoint that a run goes on from.

A number is written as Python's repr, so a reader gets the same bits back. An empty field stands for None.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mpipipe.errors import UserError
from mpipipe.records import read_text
from mpipipe.report.folder import write_text
from mpipipe.report.replace import unwritable


@dataclass(frozen=True)
class MetricsRow:
    """One step, counted from 1. `seconds` are those of the step; accuracies and the bubble are fractions."""

    step: int
    epoch: int
    loss: float
    accuracy: float | None
    samples_per_s: float
    learning_rate: float
    gradient_norm: float
    bubble: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


NAMES = tuple(field.name for field in dataclasses.fields(MetricsRow))
COUNTS = ("step", "epoch")
OPTIONAL = ("accuracy", "validation_loss", "validation_accuracy")


class MetricsLog:
    """An open metrics.csv that takes rows; each is handed to the system at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as reason:
            raise unwritable(path, reason) from reason

    def write(self, row: MetricsRow) -> None:
        """Append a row. Raises UserError where the disk takes no more."""
        line = _text([row]).encode()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as reason:
            raise unwritable(self.path, reason) from reason

    def close(self) -> None:
        """Close the file; again does no harm."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_log(path: Path, after_step: int) -> MetricsLog:
    """A log that goes on after `after_step`: rows up to it are kept, later ones dropped. 0 starts afresh."""
    rows = read_metrics(path) if after_step > 0 and path.exists() else []
    write_text(path, ",".join(NAMES) + "\n" + _text(row for row in rows if row.step <= after_step))
    return MetricsLog(path)


def read_metrics(path: Path) -> list[MetricsRow]:
    """All rows. A last line without its end, cut off by a crash, does not count. UserError names a damaged line."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as reason:
        raise UserError(str(path), f"cannot be read ({reason})", "a metrics.csv") from reason
    lines = text[: text.rfind("\n") + 1].splitlines()
    if lines and lines[0] != ",".join(NAMES):
        raise UserError(f"{path}, line 1", f"'{lines[0]}'", f"the header '{','.join(NAMES)}'")
    return [_row(fields, f"{path}, line {number}") for number, fields in enumerate(csv.reader(lines[1:]), 2)]


def _text(rows: Iterable[MetricsRow]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow(_field(name, getattr(row, name)) for name in NAMES)
    return buffer.getvalue()


def _field(name: str, value: float | None) -> str:
    # float() first: the repr of a numpy number is no number.
    if value is None:
        return ""
    return str(int(value)) if name in COUNTS else repr(float(value))


def _row(fields: list[str], where: str) -> MetricsRow:
    try:
        return MetricsRow(**{name: _value(name, text) for name, text in zip(NAMES, fields, strict=True)})  # type: ignore[arg-type]
    except ValueError as reason:
        raise UserError(where, f"'{','.join(fields)}'", f"{len(NAMES)} numbers", "mend or remove the line") from reason


def _value(name: str, text: str) -> float | None:
    if not text and name in OPTIONAL:
        return None
    return int(text) if name in COUNTS else float(text)
