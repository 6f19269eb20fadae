"""The same elements in another shape: flatten and reshape."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Tree, Weightless, Work, size


class _Copy(Weightless):
    """What the layers of this file share: y has the elements of x in C order."""

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


@dataclass(frozen=True)
class Flatten(_Copy):
    """x of any shape to y (elements,), in C order."""

    kind: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """One axis."""
        return (size(shape),)


@dataclass(frozen=True)
class Reshape(_Copy):
    """x of any shape to y of `shape`, in C order: rows of pixels to images, for one."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "reshape"

    def output_shape(self, shape: Shape) -> Shape:
        """The shape asked for."""
        if any(length < 1 for length in self.shape):
            raise ShapeError("reshape.shape", f"{list(self.shape)}", "lengths of 1 or more")
        if size(self.shape) != size(shape):
            found = f"{list(self.shape)}, which is {size(self.shape)} elements"
            raise ShapeError("reshape.shape", found, f"the {size(shape)} elements of an input of shape {shape}")
        return self.shape
