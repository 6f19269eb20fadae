"""The samples: open a data set, split it, scale it, cut it into batches. Rank 0 alone enters this room.

`open_data` picks a reader by the name's ending, makes the targets fit the loss and splits; `measure` finds the scale of
the features; `batches` gives the rows of every step. What cannot be used is a DataError that says where and why.
"""

from mpipipe.data.batches import Batch, batches, order, steps_per_epoch
from mpipipe.data.digest import Identity, identify, other_data, were_trained_on
from mpipipe.data.prompt import decode, encode
from mpipipe.data.read import open_data, open_inputs, shipped_sets
from mpipipe.data.scaling import UNSCALED, Scaling, check_finite, measure, measure_targets
from mpipipe.data.targets import check_labels, one_hot_classes
from mpipipe.data.tokens import check_tokens
from mpipipe.data.types import DataSet, Part, Rows, held_back

__all__ = [
    "UNSCALED",
    "Batch",
    "DataSet",
    "Identity",
    "Part",
    "Rows",
    "Scaling",
    "batches",
    "check_finite",
    "check_labels",
    "check_tokens",
    "decode",
    "encode",
    "held_back",
    "identify",
    "measure",
    "measure_targets",
    "one_hot_classes",
    "open_data",
    "open_inputs",
    "order",
    "other_data",
    "shipped_sets",
    "steps_per_epoch",
    "were_trained_on",
]
