"""Layer normalisation over the last axis."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class LayerNorm:
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias (Ba, Kiros and Hinton 2016); gain, bias (features)."""

    epsilon: float = 1e-5
    kind: ClassVar[str] = "layernorm"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not shape:
            raise ShapeError("layernorm", "an input of shape ()", "at least one axis")
        if self.epsilon <= 0:
            raise ShapeError("layernorm.epsilon", f"{self.epsilon}", "a number above 0")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """Gain and bias."""
        return {"gain": shape[-1:], "bias": shape[-1:]}

    def saved(self, shape: Shape) -> Shapes:
        """The normalised x, and 1 / standard deviation."""
        return {"normal": shape, "inverse": (*shape[:-1], 1)}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy and the normalised x are enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """Passes over x: seven in F, seven in I, three in W."""
        count = float(size(shape))
        return Cost(Work(0, 7 * count), Work(0, 7 * count), Work(0, 3 * count), 2 * count)

    def initialise(self, p: Tree, key: Key) -> None:
        """Gain 1, bias 0."""
        p["gain"].fill(1)
        p["bias"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Normalise, scale, shift."""
        normal, inverse = saved["normal"], saved["inverse"]
        np.mean(x, axis=-1, keepdims=True, out=inverse)
        np.subtract(x, inverse, out=normal)
        np.vecdot(normal, normal, out=inverse[..., 0])
        np.multiply(inverse, 1 / x.shape[-1], out=inverse)
        np.add(inverse, self.epsilon, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        np.multiply(normal, inverse, out=normal)
        np.multiply(normal, p["gain"], out=y)
        np.add(y, p["bias"], out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """With d = dy gain: dx = (d - mean(d) - normal mean(d normal)) / standard deviation."""
        normal = saved["normal"]
        mean = scratch.take(saved["inverse"].shape, dy.dtype)
        part = scratch.take(dy.shape, dy.dtype)
        np.multiply(dy, p["gain"], out=dx)
        np.vecdot(dx, normal, out=mean[..., 0])
        np.multiply(mean, 1 / dy.shape[-1], out=mean)
        np.multiply(normal, mean, out=part)
        np.mean(dx, axis=-1, keepdims=True, out=mean)
        np.subtract(dx, mean, out=dx)
        np.subtract(dx, part, out=dx)
        np.multiply(dx, saved["inverse"], out=dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Sums over rows: dy normal for the gain, dy for the bias."""
        axes = tuple(range(dy.ndim - 1))
        part, total = scratch.take(dy.shape, dy.dtype), scratch.take(dy.shape[-1:], dy.dtype)
        np.multiply(dy, saved["normal"], out=part)
        add_up(g["gain"], np.sum(part, axis=axes, out=total), first)
        add_up(g["bias"], np.sum(dy, axis=axes, out=total), first)
