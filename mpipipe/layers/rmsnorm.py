"""Normalisation by the root of the mean square, over the last axis."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class RmsNorm:
    """y = gain x / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019, equation 4), x (..., features); gain (features).

    Only the scale of each row is saved: what it does to x is done again, one pass more in I and W, for less memory.
    """

    epsilon: float = 1e-6
    kind: ClassVar[str] = "rmsnorm"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not shape:
            raise ShapeError("rmsnorm", "an input of shape ()", "at least one axis")
        if self.epsilon <= 0:
            raise ShapeError("rmsnorm.epsilon", f"{self.epsilon}", "a number above 0")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """The gain."""
        return {"gain": shape[-1:]}

    def saved(self, shape: Shape) -> Shapes:
        """1 / root of the mean square."""
        return {"inverse": (*shape[:-1], 1)}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: x and dy are enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """Passes over x: three in F, six in I, three in W."""
        count = float(size(shape))
        return Cost(Work(0, 3 * count), Work(0, 6 * count), Work(0, 3 * count), count + size(shape[:-1]))

    def initialise(self, p: Tree, key: Key) -> None:
        """Gain 1."""
        p["gain"].fill(1)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Normalise, scale."""
        inverse = saved["inverse"]
        np.vecdot(x, x, out=inverse[..., 0])
        np.multiply(inverse, 1 / x.shape[-1], out=inverse)
        np.add(inverse, self.epsilon, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        np.multiply(x, inverse, out=y)
        np.multiply(y, p["gain"], out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """With d = dy gain and n = x / root: dx = (d - n mean(d n)) / root."""
        inverse = saved["inverse"]
        normal = np.multiply(x, inverse, out=scratch.take(x.shape, x.dtype))
        mean = scratch.take(inverse.shape, x.dtype)
        np.multiply(dy, p["gain"], out=dx)
        np.vecdot(dx, normal, out=mean[..., 0])
        np.multiply(mean, 1 / x.shape[-1], out=mean)
        np.multiply(normal, mean, out=normal)
        np.subtract(dx, normal, out=dx)
        np.multiply(dx, inverse, out=dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """The sum over rows of dy x / root."""
        part, total = scratch.take(dy.shape, dy.dtype), scratch.take(dy.shape[-1:], dy.dtype)
        np.multiply(dy, x, out=part)
        np.multiply(part, saved["inverse"], out=part)
        add_up(g["gain"], np.sum(part, axis=tuple(range(dy.ndim - 1)), out=total), first)
