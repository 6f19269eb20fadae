"""A convolution over images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.products import add_product
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size
from mpipipe.layers.windows import Windows, image_shape


@dataclass(frozen=True)
class Conv2d:
    """x (height, width, inputs) to y (height', width', channels): y = x correlated with the weight, + bias.

    height' = (height + 2 padding - size) // stride + 1, and so for the width. The weight is (groups, size, size,
    inputs / groups, channels / groups), so that each line of a kernel is a matrix in one piece: group g takes the g-th
    share of the inputs to the g-th share of the channels. Weights are drawn from a normal distribution of standard
    deviation gain * sqrt(2 / (size^2 inputs / groups)) (He et al. 2015, section 2.2), biases are 0.

    Micro-batches are worked on in runs of samples (windows.py says how many), the same ones in F, I and W.
    """

    channels: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    gain: float = 1.0
    kind: ClassVar[str] = "conv2d"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (height', width', channels)."""
        image = image_shape(shape, "conv2d")
        if not 1 <= self.channels < 2**31:
            raise ShapeError("conv2d.channels", f"{self.channels}", "1 or more, below 2^31")
        if not 1 <= self.groups < 2**31 or image[2] % self.groups or self.channels % self.groups:
            found = f"{self.groups} for {image[2]} channels in and {self.channels} out"
            raise ShapeError("conv2d.groups", found, "a number that divides both")
        windows = self._windows(image)
        windows.check("conv2d")
        return (*windows.out, self.channels)

    def parameters(self, shape: Shape) -> Shapes:
        """The weight and, where wanted, the bias."""
        share = (shape[2] // self.groups, self.channels // self.groups)
        weight: Shapes = {"weight": (self.groups, self.size, self.size, *share)}
        return weight | {"bias": (self.channels,)} if self.bias else weight

    def saved(self, shape: Shape) -> Shapes:
        """Nothing: W writes out x again, which costs less than keeping it written out."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy is enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """2 flops for each weight and window, three times; the layout is written, and y copied, by the way."""
        windows, out = self._windows(shape), float(size(self.output_shape(shape)))
        product = Work(2.0 * out * self.size**2 * windows.depth)
        laid, wide = float(size(windows.layout(1))), float(size(windows.padded))
        row = out / windows.out[0]
        # The layout, the padded image, y in its order, and what a product may need where BLAS cannot add.
        room = windows.run(self.channels) * (laid + wide + out + max(out, size(windows.out) * windows.line))
        return Cost(
            product + Work(0, laid + wide + out * (1 + self.bias)),
            product + Work(0, 2 * laid + wide + out),
            product + Work(0, laid + wide + out * (1 + self.bias)),
            fixed=room + row + self.size**2 * windows.depth * self.channels,
        )

    def initialise(self, p: Tree, key: Key) -> None:
        """Draw the weight, clear the bias."""
        weight = p["weight"]
        key.generator().standard_normal(dtype=weight.dtype, out=weight)
        np.multiply(weight, self.gain * math.sqrt(2.0 / math.prod(weight.shape[1:4])), out=weight)
        if self.bias:
            p["bias"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Write out the windows of a run, add up the products of their lines, add the bias."""
        windows = self._windows(x.shape[1:])
        row = self._bias_row(p, y, scratch)
        for run in self._runs(windows, len(x)):
            mark = scratch.mark()
            laid = scratch.take(windows.layout(len(x[run])), x.dtype)
            windows.lay(x[run], laid, scratch)
            total = self._lines(y[run], windows, scratch)
            for group in range(self.groups):
                for line in range(windows.lines):
                    left, right = windows.matrix(laid, group, line), self._weight(p["weight"], windows, group, line)
                    add_product(left, right, total[group], line == 0, scratch)
            _write(total, y[run], row, windows)
            scratch.release(mark)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """The gradient by the windows as they are written out, dy W^T for each line; then added up in dx."""
        windows = self._windows(x.shape[1:])
        for run in self._runs(windows, len(dy)):
            mark = scratch.mark()
            laid = scratch.take(windows.layout(len(dy[run])), dy.dtype)
            out = self._lines(dy[run], windows, scratch, filled=True)
            if windows.lines > 1:
                # The first line of each phase writes the rows before these.
                laid[:, :, windows.out[0] :].fill(0)
            for group in range(self.groups):
                for line in range(windows.lines):
                    right = self._weight(p["weight"], windows, group, line).T
                    add_product(out[group], right, windows.matrix(laid, group, line), line < self.stride, scratch)
            windows.gather(laid, dx[run])
            scratch.release(mark)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """Runs of lines of the weight, all groups' in a row: of `rows` rows of inputs, or one line."""
        windows = self._windows(shape)
        step, last = max(1, rows // windows.line), self.groups * windows.lines
        return tuple((start, min(start + step, last)) for start in range(0, last, step))

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """The windows' lines^T dy, run by run; the first tile also sums dy for the bias."""
        windows = self._windows(x.shape[1:])
        for run in self._runs(windows, len(x)):
            mark = scratch.mark()
            laid = scratch.take(windows.layout(len(x[run])), x.dtype)
            windows.lay(x[run], laid, scratch)
            out = self._lines(dy[run], windows, scratch, filled=True)
            for group, line in (divmod(unit, windows.lines) for unit in range(*tile)):
                left, total = windows.matrix(laid, group, line).T, self._weight(g["weight"], windows, group, line)
                if first and run.start == 0:
                    np.matmul(left, out[group], out=total)
                    continue
                inner = scratch.mark()
                part = scratch.take(total.shape, total.dtype)
                add_up(total, np.matmul(left, out[group], out=part), False)
                scratch.release(inner)
            scratch.release(mark)
        if self.bias and tile[0] == 0:
            self._sum_bias(dy, g["bias"], first, scratch)

    def _sum_bias(self, dy: Array, total: Array, first: bool, scratch: Scratch) -> None:
        # Whole lines of the image first: sums over long rows are the fast ones.
        row, part = scratch.take(dy.shape[2:], dy.dtype), scratch.take(total.shape, dy.dtype)
        np.sum(dy, axis=(0, 1), out=row)
        add_up(total, np.sum(row, axis=0, out=part), first)

    def _windows(self, shape: Shape) -> Windows:
        return Windows((shape[0], shape[1], shape[2]), self.size, self.stride, self.padding, self.groups)

    def _runs(self, windows: Windows, rows: int) -> Iterator[slice]:
        step = windows.run(self.channels)
        return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

    def _weight(self, weight: Array, windows: Windows, group: int, line: int) -> Array:
        """The matrix of a line: (elements of a line, channels of the group)."""
        share: Array = weight[group] if windows.lines == 1 else weight[group, line]
        return share.reshape(windows.line, -1)

    def _lines(self, y: Array, windows: Windows, scratch: Scratch, filled: bool = False) -> Array:
        """Room for y, or y itself, in the order of the windows: (group, windows, channels of the group)."""
        share = self.channels // self.groups
        if self.groups == 1 and _same_order(y, windows):
            return y.reshape(1, -1, share)
        ordered = _in_order(y, windows)
        lines = scratch.take(ordered.shape, y.dtype)
        if filled:
            np.copyto(lines, ordered)
        return lines.reshape(self.groups, -1, share)

    def _bias_row(self, p: Tree, y: Array, scratch: Scratch) -> Array | None:
        """The bias for each place of a line of y."""
        if not self.bias:
            return None
        row = scratch.take(y.shape[2:], y.dtype)
        np.copyto(row, p["bias"])
        return row


def _same_order(y: Array, windows: Windows) -> bool:
    return len(y) == 1 or windows.order == (0, 1, 2)


def _in_order(y: Array, windows: Windows) -> Array:
    """y (samples, high, wide, channels) seen as (group, three axes of windows in order, channels of the group)."""
    return y.reshape(*y.shape[:3], windows.groups, -1).transpose(3, *windows.order, 4)


def _write(lines: Array, y: Array, row: Array | None, windows: Windows) -> None:
    """Put lines where they belong in y, and add the bias's row."""
    ordered = _in_order(y, windows)
    inside = lines.reshape(ordered.shape)
    alone = windows.groups == 1
    if not alone or (row is None and not _same_order(y, windows)):
        np.copyto(ordered, inside)
    if row is not None:
        # Whole lines of the image at once, since adding long rows is faster.
        flat = y.reshape(*y.shape[:2], -1).transpose(windows.order[:2] + (2,))
        np.add(inside.reshape(flat.shape) if alone else flat, row.reshape(-1), out=flat)
