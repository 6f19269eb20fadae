"""SwiGLU: half of the features let the other half through (Shazeer 2020, equation 5)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tree, Weightless, Work, size


@dataclass(frozen=True)
class SwiGlu(Weightless):
    """x (..., 2 n), halves a and b, to y (..., n) = a sigmoid(a) b."""

    kind: ClassVar[str] = "swiglu"

    def output_shape(self, shape: Shape) -> Shape:
        """(..., n)."""
        if not shape or shape[-1] % 2 or not shape[-1]:
            raise ShapeError("swiglu", f"samples of shape {shape}", "a last axis of an even number of features")
        return (*shape[:-1], shape[-1] // 2)

    def saved(self, shape: Shape) -> Shapes:
        """a sigmoid(a), and its slope."""
        return {"gate": self.output_shape(shape), "slope": self.output_shape(shape)}

    def cost(self, shape: Shape) -> Cost:
        """An exponential and ten passes over half of x forward, three backward."""
        half = size(shape) / 2
        return Cost(Work(0, 14 * half), Work(0, 3 * half))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """With s the sigmoid: gate = a s, slope = s + gate - gate s, y = gate b."""
        a, b = _halves(x)
        gate, slope = saved["gate"], saved["slope"]
        np.negative(a, out=y)
        with np.errstate(over="ignore"):  # infinity is right: its sigmoid is 0
            np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.divide(1, y, out=y)
        np.multiply(a, y, out=gate)
        np.multiply(gate, y, out=slope)
        np.subtract(gate, slope, out=slope)
        np.add(slope, y, out=slope)
        np.multiply(gate, b, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """da = dy b slope, db = dy gate."""
        b, (da, db) = _halves(x)[1], _halves(dx)
        np.multiply(dy, b, out=da)
        np.multiply(da, saved["slope"], out=da)
        np.multiply(dy, saved["gate"], out=db)


def _halves(x: Array) -> tuple[Array, Array]:
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]
