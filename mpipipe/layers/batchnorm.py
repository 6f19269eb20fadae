"""Batch normalisation, whose statistics are those of a micro-batch."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class BatchNorm:
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias (Ioffe and Szegedy 2015, algorithm 1), x (..., channels).

    In training, mean and variance are each channel's over the samples of the micro-batch and all axes but the last, so
    the size of a micro-batch matters to the result (as in GPipe, Huang et al. 2019, section 2.2). When only evaluating
    they are `running_mean` and `running_variance`, and samples do not touch each other. After each micro-batch, in
    order, running = (1 - momentum) running + momentum statistic, with the variance's unbiased estimate (divided by
    n - 1; by n where n is 1). F of a batch never sees the running statistics, so W is early enough: it leaves them in
    the gradient's place, from where the update copies them. gain, bias, running_mean, running_variance (channels).
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    kind: ClassVar[str] = "batchnorm"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if not shape:
            raise ShapeError("batchnorm", "an input of shape ()", "at least one axis")
        if self.epsilon <= 0:
            raise ShapeError("batchnorm.epsilon", f"{self.epsilon}", "a number above 0")
        if not 0 <= self.momentum <= 1:
            raise ShapeError("batchnorm.momentum", f"{self.momentum}", "a number from 0 to 1")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """Gain and bias, and the running statistics, which are not trained."""
        each = shape[-1:]
        return {"gain": each, "bias": each, "running_mean": each, "running_variance": each}

    def saved(self, shape: Shape) -> Shapes:
        """The normalised x; mean and variance, the same for each sample."""
        return {"normal": shape, "mean": shape[-1:], "variance": shape[-1:]}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy and the normalised x are enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """Passes over x: seven in F, seven in I, three in W."""
        count = float(size(shape))
        return Cost(Work(0, 7 * count), Work(0, 7 * count), Work(0, 3 * count), count, fixed=count + 4 * shape[-1])

    def initialise(self, p: Tree, key: Key) -> None:
        """Gain 1, bias 0; mean 0, variance 1."""
        for name, value in (("gain", 1), ("bias", 0), ("running_mean", 0), ("running_variance", 1)):
            p[name].fill(value)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Normalise, scale, shift."""
        row = scratch.take(x.shape[1:], x.dtype)
        normal, mean, variance = saved["normal"], saved["mean"], saved["variance"]
        if key is None:
            np.copyto(mean, p["running_mean"])
            np.copyto(variance, p["running_variance"])
        else:
            np.copyto(mean, _mean(x, row, scratch))
        _by_row(np.subtract, x, mean[0], row, normal)
        if key is not None:
            np.copyto(variance, _mean(np.square(normal, out=y), row, scratch))
        _by_row(np.multiply, normal, self._inverse(variance[0], scratch), row, normal)
        _by_row(np.multiply, normal, p["gain"], row, y)
        _by_row(np.add, y, p["bias"], row, y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """dx = gain (dy - mean(dy) - normal mean(dy normal)) / standard deviation, means over the micro-batch."""
        normal, row = saved["normal"], scratch.take(x.shape[1:], x.dtype)
        _by_row(np.multiply, normal, _mean(np.multiply(dy, normal, out=dx), row, scratch), row, dx)
        np.subtract(dy, dx, out=dx)
        _by_row(np.subtract, dx, _mean(dy, row, scratch), row, dx)
        scale = self._inverse(saved["variance"][0], scratch)
        _by_row(np.multiply, dx, np.multiply(scale, p["gain"], out=scale), row, dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Sums of dy normal for the gain and of dy for the bias; the running statistics after this micro-batch."""
        row, part = scratch.take(x.shape[1:], x.dtype), scratch.take(dy.shape, dy.dtype)
        np.multiply(dy, saved["normal"], out=part)
        add_up(g["gain"], _sum(part, row, scratch), first)
        add_up(g["bias"], _sum(dy, row, scratch), first)
        count = dy.size // dy.shape[-1]
        news = {"mean": self.momentum, "variance": self.momentum * count / max(1, count - 1)}
        new = scratch.take(dy.shape[-1:], dy.dtype)
        for name, weight in news.items():
            total = g[f"running_{name}"]
            np.multiply(p[f"running_{name}"] if first else total, 1 - self.momentum, out=total)
            np.add(total, np.multiply(saved[name][0], weight, out=new), out=total)

    def _inverse(self, variance: Array, scratch: Scratch) -> Array:
        """1 / standard deviation."""
        inverse = np.add(variance, self.epsilon, out=scratch.take(variance.shape, variance.dtype))
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        return inverse


def _sum(array: Array, row: Array, scratch: Scratch) -> Array:
    """Each channel's sum over all else: over the samples into `row`, then over its places. Long rows add up fastest."""
    total = scratch.take(array.shape[-1:], array.dtype)
    np.sum(array, axis=0, out=row)
    np.sum(row.reshape(-1, row.shape[-1]), axis=0, out=total)
    return total


def _mean(array: Array, row: Array, scratch: Scratch) -> Array:
    """Each channel's mean over all else."""
    total = _sum(array, row, scratch)
    np.multiply(total, array.shape[-1] / array.size, out=total)
    return total


def _by_row(function: np.ufunc, left: Array, right: Array, row: Array, out: Array) -> None:
    """The function of left and the channels' values, written out for one sample: fast, for long rows."""
    np.copyto(row, right)
    function(left, row, out=out)
