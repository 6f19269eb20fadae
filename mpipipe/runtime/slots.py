"""Slots: the arrays of one micro-batch, made once, handed out again, and cut to the rows of a smaller micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.layers import Array, Layer, Loss, Shape, Tree, first_rows, make_tree, touched

DTYPE = np.dtype(np.float32)


@dataclass(frozen=True)
class Slot:
    """Arrays of one micro-batch in flight: input and outputs of all layers, what F saves, the target."""

    acts: tuple[Array, ...]
    saved: tuple[Tree, ...]
    target: Array
    loss_saved: Tree

    def cut(self, rows: int) -> "Slot":
        """Views of the first rows."""
        return Slot(
            tuple(array[:rows] for array in self.acts),
            tuple(first_rows(tree, rows) for tree in self.saved),
            self.target[:rows],
            first_rows(self.loss_saved, rows),
        )


@dataclass(frozen=True)
class GradientSlot:
    """Arrays of one micro-batch between I and W: gradients by input and outputs, what I holds for W."""

    grads: tuple[Array, ...]
    held: tuple[Tree, ...]

    def cut(self, rows: int) -> "GradientSlot":
        """Views of the first rows."""
        return GradientSlot(
            tuple(array[:rows] for array in self.grads), tuple(first_rows(tree, rows) for tree in self.held)
        )


def make_slot(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int, loss: Loss | None) -> Slot:
    """Arrays for `rows` samples; with `loss`, on the last stage, what it needs too. `shapes` has the output as well."""
    out = shapes[-1]
    target = (rows, *loss.target_shape(out)) if loss else (0,)
    return Slot(
        tuple(touched((rows, *shape), DTYPE) for shape in shapes),
        tuple(make_tree(layer.saved(at), DTYPE, rows) for layer, at in zip(layers, shapes, strict=False)),
        touched(target, np.int64 if loss and loss.labels else DTYPE),
        make_tree(loss.saved(out), DTYPE, rows) if loss else {},
    )


def make_gradient_slot(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int) -> GradientSlot:
    """Arrays for `rows` samples between I and W."""
    return GradientSlot(
        tuple(touched((rows, *shape), DTYPE) for shape in shapes),
        tuple(make_tree(layer.held(at), DTYPE, rows) for layer, at in zip(layers, shapes, strict=False)),
    )
