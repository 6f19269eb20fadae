"""The maths: layers, losses, optimizers, in numpy only. Knows shapes and costs, and nobody."""

from mpipipe.layers.extend import cache_shapes, extend
from mpipipe.layers.kinds import KINDS, build_layers
from mpipipe.layers.losses import LOSSES, Loss, find_loss
from mpipipe.layers.model import LayerCost, Model, build_model, forward_only, generating, layer_costs, signature
from mpipipe.layers.optimizers import (
    STATE,
    TINY,
    Update,
    clear_below,
    learning_rate,
    square_sum,
    state_names,
    update_weight,
)
from mpipipe.layers.residual import Residual
from mpipipe.layers.sampling import Sampling, sample
from mpipipe.layers.trees import first_rows, leaves, make_tree, shape_leaves, touched, tree_bytes
from mpipipe.layers.types import (
    Array,
    Cost,
    Key,
    Layer,
    Scratch,
    Shape,
    Shapes,
    Tile,
    Tree,
    Weightless,
    Work,
    is_running,
)

__all__ = [
    "KINDS",
    "LOSSES",
    "STATE",
    "TINY",
    "Array",
    "Cost",
    "Key",
    "Layer",
    "LayerCost",
    "Loss",
    "Model",
    "Sampling",
    "Residual",
    "Scratch",
    "Shape",
    "Shapes",
    "Tile",
    "Tree",
    "Update",
    "Weightless",
    "Work",
    "build_layers",
    "build_model",
    "clear_below",
    "cache_shapes",
    "extend",
    "find_loss",
    "first_rows",
    "forward_only",
    "generating",
    "is_running",
    "layer_costs",
    "leaves",
    "learning_rate",
    "make_tree",
    "sample",
    "shape_leaves",
    "signature",
    "square_sum",
    "state_names",
    "touched",
    "tree_bytes",
    "update_weight",
]
