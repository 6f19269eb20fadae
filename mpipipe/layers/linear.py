"""A dense layer: y = x W + b over the last axis."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.products import add_product, as_rows, row_tiles
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class Linear:
    """x (..., inputs) to y (..., outputs); weight (inputs, outputs), bias (outputs).

    Weights are drawn from a normal distribution of standard deviation gain * sqrt(2 / inputs) (He et al. 2015,
    section 2.2), biases are 0.
    """

    outputs: int
    bias: bool = True
    gain: float = 1.0
    kind: ClassVar[str] = "linear"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (..., outputs)."""
        if not 1 <= self.outputs < 2**31:
            raise ShapeError("linear.outputs", f"{self.outputs}", "1 or more, below 2^31")
        if not shape:
            raise ShapeError("linear", "an input of shape ()", "at least one axis", "is a feature axis missing?")
        return (*shape[:-1], self.outputs)

    def parameters(self, shape: Shape) -> Shapes:
        """The weight and, where wanted, the bias."""
        weight: Shapes = {"weight": (shape[-1], self.outputs)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def saved(self, shape: Shape) -> Shapes:
        """Nothing: x is enough."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy is enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """2 flops for each weight and row, three times; the bias passes over y."""
        product = Work(2.0 * size(shape) * self.outputs)
        out = float(size(self.output_shape(shape)) * self.bias)
        return Cost(product + Work(0, out), product, product + Work(0, out))

    def initialise(self, p: Tree, key: Key) -> None:
        """Draw the weight, clear the bias."""
        weight = p["weight"]
        key.generator().standard_normal(dtype=weight.dtype, out=weight)
        np.multiply(weight, self.gain * math.sqrt(2.0 / weight.shape[0]), out=weight)
        if self.bias:
            p["bias"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """One product, one addition."""
        np.matmul(as_rows(x), p["weight"], out=as_rows(y))
        if self.bias:
            np.add(y, p["bias"], out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy W^T."""
        np.matmul(as_rows(dy), p["weight"].T, out=as_rows(dx))

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """Runs of `rows` rows of the weight."""
        return row_tiles(shape[-1], rows)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Rows of x^T dy; the first tile also sums dy for the bias."""
        start, stop = tile
        add_product(as_rows(x)[:, start:stop].T, as_rows(dy), g["weight"][start:stop], first, scratch)
        if self.bias and start == 0:
            part = scratch.take((self.outputs,), dy.dtype)
            np.sum(as_rows(dy), axis=0, out=part)
            add_up(g["bias"], part, first)
