"""`python filling.py WAY FOLDER`: saves checkpoints on a disk that fills up, and tells as JSON what came of it.

WAY is `limit` (files may not grow beyond a size) or `disk` (FOLDER is a small disk of its own).
"""

import contextlib
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpipipe.checkpoint import Facts, Piece, Position, Writer, checkpoint_path, verify
from mpipipe.errors import CheckpointError

FACTS = Facts(Position(1, 0, 0), 1, "", "{}", "{}")
KINDS = {
    "large pieces": [Piece(i, f"{i:03d}_linear", "weight", "", (100, 400)) for i in range(3)],
    "small pieces": [Piece(i, f"{i:03d}_linear", "weight", "", (2, 3)) for i in range(5)],
    "one piece": [Piece(0, "000_linear", "weight", "", (3, 4))],
}


def save(folder: Path, step: int, pieces: list[Piece], between=lambda: None, before_finish=lambda: None) -> Path:
    writer = Writer(checkpoint_path(folder, step), FACTS, {}, pieces)
    between()
    for piece in pieces:
        writer.write(piece, np.ones(piece.shape, np.float32))
    before_finish()
    return writer.finish()


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may grow beyond `size`."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def fill(folder: Path) -> None:
    """Leave not a byte free."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def attempt(tell: list, folder: Path, what: str, pieces: list[Piece], **hooks) -> None:
    """Save, with all that is wrong about how it went."""
    try:
        save(folder, 2, pieces, **hooks)
        wrong = "was saved"
    except CheckpointError as error:
        wrong = "" if "\n" not in str(error) and "what was saved before is kept" in str(error) else repr(str(error))
    left = sorted(path.name for path in folder.iterdir() if path.name != "filler")
    if left != ["step-00000001.h5"]:
        wrong += f" left {left}"
    (folder / "filler").unlink(missing_ok=True)
    checkpoint_path(folder, 2).unlink(missing_ok=True)
    verify(checkpoint_path(folder, 1))
    tell.append((what, wrong))


def by_limit(folder: Path, tell: list) -> None:
    for kind, pieces in KINDS.items():
        size = save(folder, 1, pieces).stat().st_size
        for limit in (100, 600, 2000, 2700, 5000, size // 2, size - 4000, size - 1000, size - 100, size - 1):
            if 0 < limit < size:
                with limited(limit):
                    attempt(tell, folder, f"{kind}, limit {limit} of {size}", pieces)


def by_disk(folder: Path, tell: list) -> None:
    for kind, pieces in KINDS.items():
        save(folder, 1, pieces)
        attempt(tell, folder, f"{kind}, full before the first piece", pieces, between=lambda: fill(folder))
        if kind != "large pieces":
            # what HDF5 still holds back is written at the finish
            attempt(tell, folder, f"{kind}, full before the finish", pieces, before_finish=lambda: fill(folder))


def main() -> None:
    way, folder = sys.argv[1], Path(sys.argv[2])
    tell: list = []
    {"limit": by_limit, "disk": by_disk}[way](folder, tell)
    print(json.dumps(tell))


if __name__ == "__main__":
    main()
