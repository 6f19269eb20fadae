"""Reading: the whole file is checked first; then pieces are read one by one, each into the array that wants it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from mpipipe.checkpoint.layout import BLOCK, VERSION, DataFacts, Facts, Piece, Position
from mpipipe.checkpoint.write import block_text, digest
from mpipipe.errors import CheckpointError
from mpipipe.layers import Array, Shape
from mpipipe.records import from_plain


@dataclass(frozen=True)
class Checkpoint:
    """An open, checked checkpoint."""

    path: Path
    facts: Facts
    shapes: dict[str, Shape]
    file: h5py.File

    def read(self, piece: Piece) -> Array:
        """The array of one piece, float32. Raises CheckpointError where it is missing or of another shape."""
        if piece.place not in self.file:
            raise CheckpointError(f"{self.path}", f"no {piece.place}", "the state of the job's optimizer and model")
        array: Array = self.file[piece.place][...]
        if array.shape != piece.shape:
            found, needed = f"{piece.place} has shape {array.shape}", f"shape {piece.shape}"
            raise CheckpointError(f"{self.path}", found, needed)
        return array

    def scaling(self) -> dict[str, Array]:
        """`shift` and `factor`, and perhaps `target_shift` and `target_factor`."""
        return {name: data[...] for name, data in self.file["scaling"].items()}


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Check and open. Raises CheckpointError naming the file and what is damaged."""
    verify(path)
    try:
        file = h5py.File(path, "r")
    except OSError as reason:
        raise CheckpointError(str(path), f"cannot be opened ({reason})", "a checkpoint of mpipipe") from reason
    with file:
        yield Checkpoint(path, _facts(path, file), dict(_shapes(file)), file)


def verify(path: Path) -> None:
    """Raises CheckpointError unless every byte is as it was written."""
    try:
        with path.open("rb") as file:
            block = file.read(BLOCK)
        if not block.startswith(b"mpipipe checkpoint "):
            raise CheckpointError(str(path), "not a checkpoint of mpipipe", "a file that train wrote")
        whole = digest(path)
    except OSError as reason:
        raise CheckpointError(str(path), f"cannot be read ({reason.strerror})", "a checkpoint") from reason
    if block != block_text(whole):
        remedy = "use an older checkpoint; --resume without a name finds the newest good one"
        # Which data set it is stays unsaid: HDF5 may never come back from a damaged file, or crash on it.
        found = f"damaged or cut short (the digest of its {path.stat().st_size:,} bytes is not the one they begin with)"
        raise CheckpointError(str(path), found, "the bytes as written", remedy)


def _facts(path: Path, file: h5py.File) -> Facts:
    attributes: dict[str, Any] = dict(file.attrs)
    if attributes.get("version") != VERSION:
        raise CheckpointError(str(path), f"layout version {attributes.get('version')}", f"version {VERSION}")
    return Facts(
        position=Position(int(attributes["step"]), int(attributes["epoch"]), int(attributes["offset"])),
        seed=int(attributes["seed"]),
        job=str(attributes["job"]),
        plan=str(attributes["plan"]),
        versions=str(attributes["versions"]),
        data=from_plain(DataFacts, json.loads(attributes["data"]), f"{path}: data", CheckpointError),
    )


def _shapes(file: h5py.File) -> Iterator[tuple[str, Shape]]:
    for place, data in all_datasets(file):
        if place.startswith("/layers/"):
            yield place, data.shape


def all_datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """Every data set with its place, in the order of names."""
    found: list[tuple[str, h5py.Dataset]] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((f"/{name}", item))

    file.visititems(visit)
    return found
