"""Checkpoints: HDF5 files that belong to the model, not to the cluster. Only rank 0 reads and writes them."""

from mpipipe.checkpoint.inspect import Difference, Entry, Stats, compare, describe, kernel_of, kernels_of
from mpipipe.checkpoint.layout import DataFacts, Facts, Piece, Position, compare_models, pieces
from mpipipe.checkpoint.read import Checkpoint, open_checkpoint, verify
from mpipipe.checkpoint.store import (
    checkpoint_path,
    drop_old,
    drop_temporary,
    later_checkpoints,
    list_checkpoints,
    newest_good,
)
from mpipipe.checkpoint.write import Writer

__all__ = [
    "Checkpoint",
    "DataFacts",
    "Difference",
    "Entry",
    "Facts",
    "Piece",
    "Position",
    "Stats",
    "Writer",
    "checkpoint_path",
    "compare",
    "compare_models",
    "describe",
    "drop_old",
    "drop_temporary",
    "kernel_of",
    "kernels_of",
    "later_checkpoints",
    "list_checkpoints",
    "newest_good",
    "open_checkpoint",
    "pieces",
    "verify",
]
