"""Dropout: in training, each element is dropped with probability `rate` and the rest scaled up."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tree, Weightless, Work, size


@dataclass(frozen=True)
class Dropout(Weightless):
    """Any shape in, the same out (Srivastava et al. 2014, in the inverted form). Evaluating, y = x."""

    rate: float = 0.5
    kind: ClassVar[str] = "dropout"

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not 0 <= self.rate < 1:
            raise ShapeError("dropout.rate", f"{self.rate}", "a number from 0 to below 1")
        return shape

    def saved(self, shape: Shape) -> Shapes:
        """The mask: 0, or 1 / (1 - rate)."""
        return {"mask": shape}

    def cost(self, shape: Shape) -> Cost:
        """Drawing counts as five passes."""
        return Cost(Work(0, 8.0 * size(shape)), Work(0, 1.0 * size(shape)), Work(), size(shape))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Draw the mask from `key`, and apply it."""
        if key is None:
            np.copyto(y, x)
            return
        mask = saved["mask"]
        key.generator().random(dtype=mask.dtype, out=mask)
        np.greater_equal(mask, self.rate, out=mask, casting="unsafe")
        np.multiply(mask, 1 / (1 - self.rate), out=mask)
        np.multiply(x, mask, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy mask."""
        np.multiply(dy, saved["mask"], out=dx)
