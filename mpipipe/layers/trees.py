"""Trees of arrays: made from trees of shapes, walked by path, cut to their first rows."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from mpipipe.layers.types import Array, Shape, Shapes, Tree


def make_tree(shapes: Shapes, dtype: DTypeLike, rows: int | None = None) -> Tree:
    """Arrays of zeros of those shapes, behind an axis of `rows` where given. Zeros touch the memory, so it is there."""
    lead = () if rows is None else (rows,)
    return {
        name: make_tree(shape, dtype, rows) if isinstance(shape, dict) else touched((*lead, *shape), dtype)
        for name, shape in shapes.items()
    }


def touched(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An array of zeros whose pages exist: writing them now shows at once whether the memory is there."""
    array = np.empty(shape, dtype)
    array.fill(0)
    return array


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Array]]:
    """Every array with its path, such as `1_linear/weight`, in order."""
    for name, item in tree.items():
        at = f"{path}/{name}" if path else name
        if isinstance(item, dict):
            yield from leaves(item, at)
        else:
            yield at, item


def shape_leaves(shapes: Shapes, path: str = "") -> list[tuple[str, Shape]]:
    """Every shape of a tree with its path, in order."""
    found: list[tuple[str, Shape]] = []
    for name, shape in shapes.items():
        at = f"{path}/{name}" if path else name
        found += shape_leaves(shape, at) if isinstance(shape, dict) else [(at, shape)]
    return found


def total(shapes: Shapes) -> int:
    """Elements of all shapes of a tree."""
    return sum(math.prod(shape) for _, shape in shape_leaves(shapes))


def first_rows(tree: Tree, rows: int) -> Tree:
    """The same tree with views of the first `rows` rows of every array."""
    return {name: first_rows(item, rows) if isinstance(item, dict) else item[:rows] for name, item in tree.items()}


def tree_bytes(tree: Tree) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for _, array in leaves(tree))
