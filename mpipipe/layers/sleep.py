"""A layer that takes its time: next to no work, but F, I and W last as long as the job says, a sample.

For rehearsals and teaching: a thread that sleeps leaves its core to others, so many ranks overlap on few cores.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size

MOST_S = 3600.0


@dataclass(frozen=True)
class Sleep:
    """y = x + bias, x (..., n), bias (n); F, I and W take so many seconds for each sample of the micro-batch."""

    forward_s: float = 0.0
    input_s: float = 0.0
    weight_s: float = 0.0
    kind: ClassVar[str] = "sleep"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not shape:
            raise ShapeError("sleep", "an input of shape ()", "at least one axis")
        for key in ("forward_s", "input_s", "weight_s"):
            if not 0 <= getattr(self, key) <= MOST_S:
                raise ShapeError(f"sleep.{key}", f"{getattr(self, key)}", f"seconds from 0 to {MOST_S:g}")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """Bias."""
        return {"bias": shape[-1:]}

    def saved(self, shape: Shape) -> Shapes:
        """Nothing saved."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing held: dy is enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """A pass over x each, and the seconds."""
        count = float(size(shape))
        forward, grad_input = Work(0, count, self.forward_s), Work(0, count, self.input_s)
        return Cost(forward, grad_input, Work(0, count, self.weight_s), fixed=shape[-1])

    def initialise(self, p: Tree, key: Key) -> None:
        """Bias 0."""
        p["bias"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Add the bias."""
        end = scratch.clock.now() + len(x) * self.forward_s
        np.add(x, p["bias"], out=y)
        scratch.clock.sleep_until(end)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """dx = dy."""
        end = scratch.clock.now() + len(dy) * self.input_s
        np.copyto(dx, dy)
        scratch.clock.sleep_until(end)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """The sum of dy over samples and places."""
        end = scratch.clock.now() + len(dy) * self.weight_s
        total = scratch.take(dy.shape[-1:], dy.dtype)
        add_up(g["bias"], np.sum(dy, axis=tuple(range(dy.ndim - 1)), out=total), first)
        scratch.clock.sleep_until(end)
