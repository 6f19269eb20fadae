"""Flatten: all axes of a sample into one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Tree, Weightless, Work, size


@dataclass(frozen=True)
class Flatten(Weightless):
    """x of any shape to y (elements,), in C order."""

    kind: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """One axis."""
        return (size(shape),)

    def cost(self, shape: Shape) -> Cost:
        """A copy each way."""
        return Cost(Work(0, size(shape)), Work(0, size(shape)))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Copy."""
        np.copyto(y, x.reshape(y.shape))

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Copy back."""
        np.copyto(dx, dy.reshape(dx.shape))
