"""Elementwise layers: relu, leaky_relu, tanh, sigmoid, gelu. Any shape in, the same shape out, no weights."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tree, Weightless, Work, size


def _passes(shape: Shape, forward: float, backward: float, scratch: float = 0.0) -> Cost:
    count = size(shape)
    return Cost(Work(0, forward * count), Work(0, backward * count), Work(), scratch * count)


class Elementwise(Weightless):
    """What the layers of this file share: y has the shape of x."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        return shape


@dataclass(frozen=True)
class Relu(Elementwise):
    """y = max(x, 0); the derivative at 0 is 0."""

    kind: ClassVar[str] = "relu"
    reads_output: ClassVar[bool] = True

    def cost(self, shape: Shape) -> Cost:
        """One pass forward, two backward."""
        count = size(shape)
        return Cost(Work(0, 1.0 * count), Work(0, 2.0 * count), fixed=count)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Clip below at 0. A row of zeros is compared with three times as fast as the number 0."""
        zeros = scratch.take((1, *x.shape[1:]), x.dtype)
        zeros.fill(0)
        np.maximum(x, zeros, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Pass dy where y is above 0."""
        np.greater(y, 0, out=dx)
        np.multiply(dx, dy, out=dx)


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """y = x above 0, slope * x below."""

    slope: float = 0.01
    kind: ClassVar[str] = "leaky_relu"

    def cost(self, shape: Shape) -> Cost:
        """Four passes forward, three backward."""
        return _passes(shape, 4, 3, 1)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """max(x, 0) + slope * min(x, 0)."""
        below = np.minimum(x, 0, out=scratch.take(x.shape, x.dtype))
        np.multiply(below, self.slope, out=below)
        np.maximum(x, 0, out=y)
        np.add(y, below, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dy where x is above 0, slope * dy elsewhere."""
        np.multiply(dy, self.slope, out=dx)
        np.copyto(dx, dy, where=np.greater(x, 0, out=scratch.take(x.shape, np.bool_)))


@dataclass(frozen=True)
class Tanh(Elementwise):
    """y = tanh(x)."""

    kind: ClassVar[str] = "tanh"
    reads_output: ClassVar[bool] = True

    def cost(self, shape: Shape) -> Cost:
        """A tanh counts as four passes; three backward."""
        return _passes(shape, 4, 3)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Numpy's tanh."""
        np.tanh(x, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy (1 - y^2)."""
        np.square(y, out=dx)
        np.subtract(1, dx, out=dx)
        np.multiply(dx, dy, out=dx)


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2, which never overflows."""

    kind: ClassVar[str] = "sigmoid"
    reads_output: ClassVar[bool] = True

    def cost(self, shape: Shape) -> Cost:
        """A tanh and three passes forward, three backward."""
        return _passes(shape, 7, 3)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """By tanh."""
        np.multiply(x, 0.5, out=y)
        np.tanh(y, out=y)
        np.add(y, 1, out=y)
        np.multiply(y, 0.5, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy y (1 - y)."""
        np.subtract(1, y, out=dx)
        np.multiply(dx, y, out=dx)
        np.multiply(dx, dy, out=dx)


@dataclass(frozen=True)
class Gelu(Elementwise):
    """y = x Phi(x) in the tanh form: x/2 (1 + tanh(c (x + a x^3))) (Hendrycks and Gimpel 2016, section 2).

    F also saves the slope, so that I is one product.
    """

    kind: ClassVar[str] = "gelu"

    def saved(self, shape: Shape) -> Shapes:
        """The slope dy/dx."""
        return {"slope": shape}

    def cost(self, shape: Shape) -> Cost:
        """A tanh and thirteen passes forward, one backward."""
        return _passes(shape, 17, 1, 2)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """With h = (1 + tanh(u)) / 2 and u = c (x + a x^3): y = x h, slope = h + (y - y h) 2 c (1 + 3 a x^2)."""
        c, a = math.sqrt(2 / math.pi), 0.044715
        slope = saved["slope"]
        square = np.square(x, out=scratch.take(x.shape, x.dtype))
        h = np.multiply(square, a * c, out=scratch.take(x.shape, x.dtype))
        np.add(h, c, out=h)
        np.multiply(h, x, out=h)
        np.tanh(h, out=h)
        np.multiply(h, 0.5, out=h)
        np.add(h, 0.5, out=h)
        np.multiply(x, h, out=y)
        np.multiply(square, 6 * a * c, out=square)
        np.add(square, 2 * c, out=square)
        np.multiply(y, h, out=slope)
        np.subtract(y, slope, out=slope)
        np.multiply(slope, square, out=slope)
        np.add(slope, h, out=slope)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy slope."""
        np.multiply(dy, saved["slope"], out=dx)
