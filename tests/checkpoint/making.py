"""Small checkpoints for the tests of this room."""

from pathlib import Path

import numpy as np

from mpipipe.checkpoint import DataFacts, Facts, Piece, Position, Writer, checkpoint_path

DATA = DataFacts("a.csv", (3, 2), (), True, ("cat", "dög"), ("a", "b"), "range")
FACTS = Facts(Position(7, 2, 30), 5, 'name = "tiny"\n', '{"stages": []}', '{"python": "3"}', DATA)
PIECES = (
    Piece(0, "000_linear", "weight", "", (3, 4)),
    Piece(0, "000_linear", "weight", "velocity", (3, 4)),
    Piece(0, "000_linear", "bias", "", (4,)),
    Piece(0, "000_linear", "bias", "velocity", (4,)),
    Piece(2, "002_residual", "1_linear/weight", "", (2, 3)),
    Piece(2, "002_residual", "1_linear/weight", "velocity", (2, 3)),
)
SCALING = {"shift": np.arange(6, dtype=np.float64).reshape(3, 2), "factor": np.array(0.5)}


def arrays_of(pieces=PIECES, seed=0):
    """Normal numbers for each piece."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(piece.shape, dtype=np.float32) for piece in pieces]


def facts_at(step: int) -> Facts:
    return Facts(Position(step, 0, 0), 1, "", "{}", "{}")


def write(path: Path, facts=FACTS, pieces=PIECES, arrays=None, scaling=SCALING) -> Path:
    """A whole checkpoint at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(path, facts, scaling, pieces)
    for piece, array in zip(pieces, arrays_of(pieces) if arrays is None else arrays, strict=True):
        writer.write(piece, array)
    return writer.finish()


def write_steps(folder: Path, *steps: int) -> list[Path]:
    """A checkpoint for each step."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write(checkpoint_path(folder, step), facts_at(step)) for step in steps]


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bits(array) -> bytes:
    return np.ascontiguousarray(array).tobytes()
