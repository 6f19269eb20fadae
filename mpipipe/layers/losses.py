"""Losses: what the last stage does after its layers. Each gives the loss of a micro-batch and the gradient by y.

A loss is summed over targets here and divided by the batch's targets once, so that the result is that of the whole
batch however it is cut. A sample has one target, or one at each of its places (next tokens); labels below 0 are ignored
and count for nothing. Arrays have the samples as first axis; shapes named here leave it out.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from mpipipe.errors import JobError, ShapeError, nearest
from mpipipe.layers.types import Array, Cost, Scratch, Shape, Shapes, Tree, Work, size


class Loss(Protocol):
    """One loss. `labels`: targets are class numbers (int64); otherwise values of y's shape."""

    kind: ClassVar[str]
    labels: ClassVar[bool]

    def target_shape(self, shape: Shape) -> Shape:
        """Shape of a sample's target for outputs of `shape`. Raises ShapeError."""

    def targets(self, shape: Shape) -> int:
        """How many targets a sample has, ignored ones included."""

    def saved(self, shape: Shape) -> Shapes:
        """What `forward` leaves for `backward`."""

    def cost(self, shape: Shape) -> Cost:
        """Work for one sample."""

    def forward(self, y: Array, target: Array, saved: Tree, scratch: Scratch) -> tuple[float, int]:
        """The sum of the targets' losses (float64) and how many predictions were right."""

    def backward(self, y: Array, target: Array, saved: Tree, dy: Array, weight: float) -> None:
        """Write dy = weight * d(sum of losses)/dy."""


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """-log softmax(y)[target] over the last axis, shifted by the maximum so that nothing overflows."""

    kind: ClassVar[str] = "softmax_cross_entropy"
    labels: ClassVar[bool] = True

    def target_shape(self, shape: Shape) -> Shape:
        """All axes but the last."""
        if not shape or shape[-1] < 2:
            raise ShapeError("softmax_cross_entropy", f"outputs of shape {shape}", "at least 2 outputs a sample")
        return shape[:-1]

    def targets(self, shape: Shape) -> int:
        """One at each place."""
        return size(shape[:-1])

    def saved(self, shape: Shape) -> Shapes:
        """The probabilities."""
        return {"probabilities": shape}

    def cost(self, shape: Shape) -> Cost:
        """Ten passes forward, three backward; for each target a few numbers, some of them of 8 bytes."""
        return Cost(Work(0, 10.0 * size(shape)), Work(0, 3.0 * size(shape)), Work(), 8.0 * self.targets(shape))

    def forward(self, y: Array, target: Array, saved: Tree, scratch: Scratch) -> tuple[float, int]:
        """Log of the sum of exponentials, less the target's output."""
        p = saved["probabilities"]
        column = scratch.take((*y.shape[:-1], 1), y.dtype)
        picked = np.maximum(target, 0)[..., None]
        np.max(y, axis=-1, keepdims=True, out=column)
        np.subtract(y, column, out=p)
        chosen = np.take_along_axis(p, picked, axis=-1)
        np.exp(p, out=p)
        np.sum(p, axis=-1, keepdims=True, out=column)
        np.divide(p, column, out=p)
        np.log(column, out=column)
        losses = np.subtract(column, chosen, out=column)
        losses[target < 0] = 0
        return float(np.sum(losses, dtype=np.float64)), int(np.count_nonzero(np.argmax(y, axis=-1) == target))

    def backward(self, y: Array, target: Array, saved: Tree, dy: Array, weight: float) -> None:
        """Dy = weight (probabilities - one at the target); 0 where the target is ignored."""
        np.multiply(saved["probabilities"], weight, out=dy)
        picked = np.maximum(target, 0)[..., None]
        np.put_along_axis(dy, picked, np.take_along_axis(dy, picked, axis=-1) - weight, axis=-1)
        dy[target < 0] = 0


@dataclass(frozen=True)
class MeanSquaredError:
    """The mean over a sample's outputs of (y - target)^2."""

    kind: ClassVar[str] = "mean_squared_error"
    labels: ClassVar[bool] = False

    def target_shape(self, shape: Shape) -> Shape:
        """The outputs' shape."""
        if not size(shape):
            raise ShapeError("mean_squared_error", f"outputs of shape {shape}", "at least 1 output a sample")
        return shape

    def targets(self, shape: Shape) -> int:
        """One: the mean over its outputs."""
        return 1

    def saved(self, shape: Shape) -> Shapes:
        """The difference."""
        return {"difference": shape}

    def cost(self, shape: Shape) -> Cost:
        """Three passes forward, one backward."""
        return Cost(Work(0, 3.0 * size(shape)), Work(0, 1.0 * size(shape)), Work(), size(shape))

    def forward(self, y: Array, target: Array, saved: Tree, scratch: Scratch) -> tuple[float, int]:
        """Squares summed in float64; no prediction counts as right."""
        difference = np.subtract(y, target, out=saved["difference"])
        squares = np.square(difference, out=scratch.take(y.shape, y.dtype))
        return float(np.sum(squares, dtype=np.float64)) / max(1, size(y.shape[1:])), 0

    def backward(self, y: Array, target: Array, saved: Tree, dy: Array, weight: float) -> None:
        """Dy = weight 2 (y - target) / outputs."""
        np.multiply(saved["difference"], 2 * weight / max(1, size(y.shape[1:])), out=dy)


LOSSES: dict[str, Loss] = {loss.kind: loss for loss in (SoftmaxCrossEntropy(), MeanSquaredError())}


def find_loss(kind: str) -> Loss:
    """The loss of that name. Raises JobError."""
    if kind not in LOSSES:
        raise JobError("model.loss", f"unknown loss '{kind}'", remedy=nearest(kind, LOSSES))
    return LOSSES[kind]
