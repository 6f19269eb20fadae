"""Generating: layers taken a few places further along a sequence, with what they must remember of the places before.

A layer that looks at other places, or must know where it stands, has two more methods: `cache`, the shapes of what it
keeps of one sequence, and `extend`. All others treat each place alone and are simply run forward.
"""

from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.residual import Residual
from mpipipe.layers.trees import shape_leaves
from mpipipe.layers.types import Array, Layer, Scratch, Shape, Shapes, Tree

PLACE_BY_PLACE = frozenset(
    ("linear", "unembedding", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "swiglu", "dropout", "layernorm")
) | {"rmsnorm", "batchnorm", "sleep"}
"""Kinds that treat each place of a sequence alone."""


@runtime_checkable
class Extends(Protocol):
    """What a layer has that must know of other places."""

    def cache(self, shape: Shape) -> Shapes:
        """Shapes of what is kept of one sequence of `shape`, the longest that comes."""

    def extend(self, p: Tree, x: Array, y: Array, cache: Tree, start: int, scratch: Scratch) -> None:
        """y of places `start` and on: x (samples, places, ...); reads and adds to the cache."""


def cache_shapes(layer: Layer, shape: Shape) -> Shapes:
    """Shapes, for each sequence of `shape`, of what `extend` keeps. Raises ShapeError for a layer that mixes places."""
    if isinstance(layer, Residual):
        return {name: cache_shapes(inner, at) for name, inner, at in layer.inner(shape)}
    if _extends(layer):
        return layer.cache(shape)
    if layer.kind not in PLACE_BY_PLACE:
        raise ShapeError(f"layer of kind {layer.kind}", "it mixes the places of a sequence", "a layer that can extend")
    return {}


def extend(layer: Layer, p: Tree, x: Array, y: Array, cache: Tree, start: int, scratch: Scratch) -> None:
    """y of places `start` to `start + places - 1` of every sequence: x (samples, places, ...)."""
    if isinstance(layer, Residual):
        _extend_block(layer, p, x, y, cache, start, scratch)
    elif _extends(layer):
        layer.extend(p, x, y, cache, start, scratch)
    else:
        layer.forward(p, x, y, _taken(layer.saved(x.shape[1:]), x, scratch), None, scratch)


def _extends(layer: Layer) -> TypeGuard[Extends]:
    """What isinstance would say, which takes longer than many a layer's work on a single place."""
    return hasattr(layer, "extend")


def _extend_block(block: Residual, p: Tree, x: Array, y: Array, cache: Tree, start: int, scratch: Scratch) -> None:
    inner = x
    for name, layer, at in block.inner(x.shape[1:]):
        out = scratch.take((len(x), *layer.output_shape(at)), x.dtype)
        mark = scratch.mark()
        extend(layer, p.get(name, {}), inner, out, cache[name], start, scratch)
        scratch.release(mark)
        inner = out
    np.add(x, inner, out=y)


def _taken(shapes: Shapes, x: Array, scratch: Scratch) -> Tree:
    tree: Tree = {}
    for path, shape in shape_leaves(shapes):
        *above, name = path.split("/")
        branch = tree
        for step in above:
            branch = branch.setdefault(step, {})
        branch[name] = scratch.take((len(x), *shape), x.dtype)
    return tree
