"""Group normalisation: over groups of channels and all places of a sample."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class GroupNorm:
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias (Wu and He 2018, section 3.1), x (..., channels).

    Mean and variance are each sample's, over the channels of a group and all axes before them; gain, bias (channels).
    """

    groups: int
    epsilon: float = 1e-5
    kind: ClassVar[str] = "groupnorm"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not shape:
            raise ShapeError("groupnorm", "an input of shape ()", "at least one axis")
        if not 1 <= self.groups < 2**31 or shape[-1] % self.groups:
            raise ShapeError(
                "groupnorm.groups", f"{self.groups} for {shape[-1]} channels", "a number that divides them"
            )
        if self.epsilon <= 0:
            raise ShapeError("groupnorm.epsilon", f"{self.epsilon}", "a number above 0")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """Gain and bias."""
        return {"gain": shape[-1:], "bias": shape[-1:]}

    def saved(self, shape: Shape) -> Shapes:
        """The normalised x, and 1 / standard deviation of each group."""
        return {"normal": shape, "inverse": (self.groups,)}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy and the normalised x are enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """Passes over x: seven in F, seven in I, three in W."""
        count = float(size(shape))
        return Cost(Work(0, 7 * count), Work(0, 7 * count), Work(0, 3 * count), count + 2 * shape[-1] + self.groups)

    def initialise(self, p: Tree, key: Key) -> None:
        """Gain 1, bias 0."""
        p["gain"].fill(1)
        p["bias"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Normalise, scale, shift."""
        x, y, normal = _places(x), _places(y), _places(saved["normal"])
        inverse, mark = saved["inverse"], scratch.mark()
        np.subtract(x, self._means(x, inverse, scratch), out=normal)
        scratch.release(mark)
        self._means(np.square(normal, out=y), inverse, scratch)
        scratch.release(mark)
        np.add(inverse, self.epsilon, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        np.multiply(normal, self._spread(inverse, normal, scratch), out=normal)
        np.multiply(normal, p["gain"], out=y)
        np.add(y, p["bias"], out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """With d = dy gain: dx = (d - mean(d) - normal mean(d normal)) / standard deviation."""
        normal, dy, dx = _places(saved["normal"]), _places(dy), _places(dx)
        part = scratch.take(dx.shape, dx.dtype)
        mean = scratch.take(saved["inverse"].shape, dx.dtype)
        mark = scratch.mark()
        np.multiply(dy, p["gain"], out=dx)
        np.multiply(normal, self._means(np.multiply(dx, normal, out=part), mean, scratch), out=part)
        scratch.release(mark)
        np.subtract(dx, self._means(dx, mean, scratch), out=dx)
        np.subtract(dx, part, out=dx)
        scratch.release(mark)
        np.multiply(dx, self._spread(saved["inverse"], dx, scratch), out=dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Sums over samples and places: dy normal for the gain, dy for the bias."""
        part, total = scratch.take(dy.shape, dy.dtype), scratch.take(dy.shape[-1:], dy.dtype)
        axes = tuple(range(dy.ndim - 1))
        np.multiply(dy, saved["normal"], out=part)
        add_up(g["gain"], np.sum(part, axis=axes, out=total), first)
        add_up(g["bias"], np.sum(dy, axis=axes, out=total), first)

    def _means(self, x: Array, means: Array, scratch: Scratch) -> Array:
        """Each group's mean into `means` (samples, groups); and that for each channel, to compute with x."""
        each = scratch.take((len(x), x.shape[2]), x.dtype)
        np.sum(x, axis=1, out=each)
        np.sum(each.reshape(*means.shape, -1), axis=2, out=means)
        np.multiply(means, self.groups / (x.shape[1] * x.shape[2]), out=means)
        return self._spread(means, x, scratch)

    def _spread(self, values: Array, x: Array, scratch: Scratch) -> Array:
        """Values of the groups for each channel: (samples, 1, channels)."""
        each = scratch.take((len(x), x.shape[2]), x.dtype)
        np.copyto(each.reshape(*values.shape, -1), values[:, :, None])
        return each[:, None]


def _places(array: Array) -> Array:
    """An array (samples, ..., channels) as (samples, places, channels)."""
    return array.reshape(len(array), -1, array.shape[-1])
