"""Pooling over images: the greatest or the mean element of each window, channel by channel. No weights."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Tree, Weightless, Work, size
from mpipipe.layers.windows import Windows, image_shape


@dataclass(frozen=True)
class _Pool(Weightless):
    """What max_pool and avg_pool share."""

    size: int
    stride: int = 0
    padding: int = 0
    kind: ClassVar[str] = "pool"

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (height', width', channels)."""
        image = image_shape(shape, self.kind)
        if not 0 <= self.stride < 2**31:
            raise ShapeError(f"{self.kind}.stride", f"{self.stride}", "1 or more, below 2^31, or 0 for the size")
        windows = self._windows(image)
        windows.check(self.kind)
        if 2 * self.padding > self.size:
            raise ShapeError(f"{self.kind}.padding", f"{self.padding}", f"at most half of the size, {self.size // 2}")
        return (*windows.out, image[2])

    def _windows(self, shape: Shape) -> Windows:
        return Windows((shape[0], shape[1], shape[2]), self.size, self.stride or self.size, self.padding)

    def _seen(self, shape: Shape) -> float:
        """Elements that all windows look at."""
        return float(size(self.output_shape(shape)) * self.size**2)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """x (height, width, channels) to y (height', width', channels), the greatest element of each window.

    height' = (height + 2 padding - size) // stride + 1; stride 0 stands for the size. Padding never wins. The gradient
    goes to the first of equal elements, row by row.
    """

    kind: ClassVar[str] = "max_pool"
    reads_output: ClassVar[bool] = True

    def cost(self, shape: Shape) -> Cost:
        """A pass over what the windows see in F, four in I."""
        seen, out = self._seen(shape), float(size(self.output_shape(shape)))
        return Cost(Work(0, seen + out), Work(0, 4 * seen + size(shape)), Work(), max(2.25 * out, size(shape) / 2))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Line by line of the windows; where they are two by two, whole lines of the image at once."""
        height, width = y.shape[1:3]
        if (self.size, self.stride or self.size, self.padding) == (2, 2, 0):
            pair = scratch.take((len(x), height, 2 * width, x.shape[3]), x.dtype)
            np.maximum(x[:, : 2 * height : 2, : 2 * width], x[:, 1 : 2 * height : 2, : 2 * width], out=pair)
            np.maximum(pair[:, :, ::2], pair[:, :, 1::2], out=y)
            return
        y.fill(-np.inf)
        for out, place in self._windows(x.shape[1:]).spans():
            np.maximum(y[out], x[place], out=y[out])

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """For each place of the windows: what is left of dy, where x is the greatest."""
        windows = self._windows(x.shape[1:])
        # Windows that tile the image write each element once.
        tiling = windows.stride == self.size and (y.shape[1] * self.size, y.shape[2] * self.size) == x.shape[1:3]
        wins, parts = scratch.take(y.shape, np.bool_), scratch.take(y.shape, y.dtype)
        left = scratch.take(y.shape, y.dtype)
        np.copyto(left, dy)
        if not tiling:
            dx.fill(0)
        for out, place in windows.spans():
            win, part = wins[out], parts[out]
            if tiling:
                _pixels(part)[...] = _pixels(x)[place]
                np.multiply(left, np.equal(part, y, out=win), out=part)
                _pixels(dx)[place] = _pixels(part)
            else:
                np.multiply(left[out], np.equal(x[place], y[out], out=win), out=part)
                np.add(dx[place], part, out=dx[place])
            np.subtract(left[out], part, out=left[out])


@dataclass(frozen=True)
class AvgPool(_Pool):
    """x (height, width, channels) to y (height', width', channels), the mean of each window, padding counted as 0.

    height' = (height + 2 padding - size) // stride + 1; stride 0 stands for the size.
    """

    kind: ClassVar[str] = "avg_pool"

    def cost(self, shape: Shape) -> Cost:
        """A pass over what the windows see, each way."""
        seen, out = self._seen(shape), float(size(self.output_shape(shape)))
        return Cost(Work(0, seen + 2 * out), Work(0, seen + out + size(shape)), Work(), out)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Add up place by place, then divide."""
        y.fill(0)
        for out, place in self._windows(x.shape[1:]).spans():
            np.add(y[out], x[place], out=y[out])
        np.multiply(y, 1 / self.size**2, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """An equal share of dy for each place of a window."""
        share = np.multiply(dy, 1 / self.size**2, out=scratch.take(dy.shape, dy.dtype))
        dx.fill(0)
        for out, place in self._windows(x.shape[1:]).spans():
            np.add(dx[place], share[out], out=dx[place])


@dataclass(frozen=True)
class GlobalAvgPool(Weightless):
    """x (height, width, channels) to y (channels,), the mean over all places (Lin, Chen and Yan 2014, section 3.2)."""

    kind: ClassVar[str] = "global_avg_pool"

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (channels,)."""
        return image_shape(shape, "global_avg_pool")[2:]

    def cost(self, shape: Shape) -> Cost:
        """A pass over x, each way."""
        return Cost(Work(0, float(size(shape))), Work(0, float(size(shape))), Work(), shape[2])

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Sum and divide."""
        np.sum(x, axis=(1, 2), out=y)
        np.multiply(y, 1 / (x.shape[1] * x.shape[2]), out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """An equal share of dy everywhere."""
        share = np.multiply(dy, 1 / (x.shape[1] * x.shape[2]), out=scratch.take(dy.shape, dy.dtype))
        np.copyto(dx, share[:, None, None])


def _pixels(image: Array) -> Array:
    """All channels of a place as one item, which numpy copies in one piece: much faster than a short row."""
    return image.view(np.dtype((np.void, image.itemsize * image.shape[-1])))
