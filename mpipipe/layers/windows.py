"""Square windows that slide over an image: their geometry, and an image laid out so that products can read them.

Images are (height, width, channels). A convolution is a few products if the input is laid out for them: each row of a
matrix is what one window sees. Writing out whole windows costs size^2 times the input. So only the runs along x are
written out (`size` times the input), with y as the slowest axis and the samples behind it: then the windows' line r is
a contiguous part of the same array, and the lines of a kernel are products that add up. (The layout is of the family
in Cho and Brand, MEC: Memory-efficient Convolution, 2017, section 3.) Where a line is short, products so shallow would
be slow, and whole windows are written out after all, as one line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Scratch, Shape, size

SHORT = 32
"""Lines of fewer elements than this are put together."""
RUN_ELEMENTS = 2**21
"""Samples are taken together as long as their windows and results stay below this, for the cache's sake."""


def image_shape(shape: Shape, where: str) -> tuple[int, int, int]:
    """Height, width and channels. Raises ShapeError for a sample that is no image."""
    if len(shape) == 3 and min(shape) >= 1:
        return shape[0], shape[1], shape[2]
    remedy = 'put {kind = "reshape", shape = [28, 28, 1]} before it, with the numbers of your images'
    raise ShapeError(where, f"an input of shape {shape}", "three axes: height, width, channels", remedy)


@dataclass(frozen=True)
class Windows:
    """Windows of `size` by `size` on an image with `padding` more on each side, `stride` apart."""

    shape: tuple[int, int, int]
    size: int
    stride: int
    padding: int
    groups: int = 1

    @property
    def padded(self) -> tuple[int, int, int]:
        """The shape of the image with its padding."""
        height, width, channels = self.shape
        return height + 2 * self.padding, width + 2 * self.padding, channels

    @property
    def out(self) -> tuple[int, int]:
        """How many windows there are along y and x."""
        height, width, _ = self.padded
        return (height - self.size) // self.stride + 1, (width - self.size) // self.stride + 1

    def check(self, where: str) -> None:
        """Raise ShapeError for settings that make no windows."""
        whole = 2**31
        if not 1 <= self.size < whole:
            raise ShapeError(f"{where}.size", f"{self.size}", "1 or more, below 2^31")
        if not 1 <= self.stride < whole:
            raise ShapeError(f"{where}.stride", f"{self.stride}", "1 or more, below 2^31")
        if not 0 <= self.padding < whole:
            raise ShapeError(f"{where}.padding", f"{self.padding}", "0 or more, below 2^31")
        height, width, _ = self.padded
        if self.size > min(height, width):
            found = f"{self.size} on an image of {height} by {width}, padding included"
            raise ShapeError(f"{where}.size", found, f"at most {min(height, width)}", "more padding or a smaller size")

    @property
    def depth(self) -> int:
        """Channels of a group."""
        return self.shape[2] // self.groups

    @property
    def lines(self) -> int:
        """How many products make one convolution: one for each of the windows' lines, or one in all."""
        return 1 if self.size * self.depth < SHORT else self.size

    @property
    def line(self) -> int:
        """Elements of a line, of one group."""
        return self.size * self.size * self.depth // self.lines

    @property
    def turned(self) -> bool:
        """Whether each element of the windows has a row of its own: with one channel, these are longer copies."""
        return self.lines == 1 and self.shape[2] == 1

    @property
    def order(self) -> tuple[int, int, int]:
        """Where samples, windows along y and windows along x stand in the rows of a matrix."""
        return (0, 1, 2) if self.lines == 1 else (1, 0, 2)

    def run(self, channels: int) -> int:
        """How many samples are taken together: by the layer alone, since it fixes the rounding."""
        return max(1, RUN_ELEMENTS // (size(self.layout(1)) + size(self.out) * channels))

    def layout(self, rows: int) -> Shape:
        """The shape of the windows of so many samples written out."""
        (high, wide), edge = self.out, self.size
        if self.turned:
            return (1, edge * edge, rows * high * wide)
        if self.lines == 1:
            return (self.groups, rows, high, wide, edge, edge, self.depth)
        # Line r begins at row r of the image: in the rows of its phase, r % stride, at row r // stride.
        return (self.groups, min(self.stride, edge), high + (edge - 1) // self.stride, rows, wide, edge, self.depth)

    def matrix(self, laid: Array, group: int, line: int) -> Array:
        """One line of all windows: (windows, elements of a line)."""
        part: Array = laid[group]
        if self.turned:
            return part.T
        high = self.out[0]
        if self.lines > 1:
            part = part[line % self.stride, line // self.stride :][:high]
        return part.reshape(-1, self.line)

    def lay(self, x: Array, laid: Array, scratch: Scratch) -> None:
        """Write out the windows of x (samples, height, width, channels)."""
        if self.padding:
            mark = scratch.mark()
            wide = scratch.take((len(x), *self.padded), x.dtype)
            wide.fill(0)
            np.copyto(self._inside(wide), x)
            self._lay(wide, laid)
            scratch.release(mark)
        else:
            self._lay(x, laid)

    def _lay(self, wide: Array, laid: Array) -> None:
        for into, view in self._parts(wide, laid):
            np.copyto(into, view)

    def gather(self, laid: Array, dx: Array) -> None:
        """Add up in dx what the windows hold for each element of the image."""
        dx.fill(0)
        image = dx.reshape(*dx.shape[:3], self.groups, self.depth)
        for line in range(min(self.stride, self.size) if self.lines > 1 else self.size):
            for column in range(self.size):
                place = self._place(laid, line, column)
                rows, down = self._span(line, place.shape[1], self.shape[0])
                columns, right = self._span(column, place.shape[3], self.shape[1])
                inside = image[:, down, right]
                np.add(inside, place[:, rows, :, columns].transpose(2, 1, 3, 0, 4), out=inside)

    def _place(self, laid: Array, line: int, column: int) -> Array:
        """What the windows hold at one place: (group, window along y, sample, window along x, channel)."""
        place: Array
        if self.turned:
            high, wide = self.out
            place = laid.reshape(self.size, self.size, -1, high, wide)[line, column][None, ..., None]
        else:
            place = laid[..., line, column, :] if self.lines == 1 else laid[:, line, ..., column, :]
        return place.swapaxes(1, 2) if self.lines == 1 else place

    def spans(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """For each place of a window, row by row: the windows that have it inside the image, and where it is there."""
        high, wide = self.out
        for line in range(self.size):
            rows, down = self._span(line, high, self.shape[0])
            for column in range(self.size):
                columns, right = self._span(column, wide, self.shape[1])
                yield (slice(None), rows, columns), (slice(None), down, right)

    def _span(self, offset: int, windows: int, length: int) -> tuple[slice, slice]:
        """Which of so many windows have their place `offset` inside the image, and the places' positions there."""
        offset -= self.padding
        first = max(0, -(offset // self.stride))
        last = max(first, min(windows, (length - 1 - offset) // self.stride + 1))
        start = offset + first * self.stride
        return slice(first, last), slice(start, start + (last - first) * self.stride, self.stride)

    def _inside(self, wide: Array) -> Array:
        height, width, _ = self.shape
        return wide[:, self.padding : self.padding + height, self.padding : self.padding + width]

    def _parts(self, wide: Array, laid: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of a part of the layout and the view of the image that belongs there, axis by axis.

        The axes: sample and window along y, or turned about; window along x, (line,) column, group, channel.
        """
        rows, step, edge = len(wide), self.stride, self.size
        (high, across), (sample, down, right, channel) = self.out, wide.strides
        tail, tail_strides = (self.groups, self.depth), (self.depth * channel, channel)
        if self.lines == 1:
            strides = (sample, step * down, step * right, down, right, *tail_strides)
            view = as_strided(wide, (rows, high, across, edge, edge, *tail), strides)
            if self.turned:
                laid = laid.reshape(edge, edge, rows, high, across)
                yield laid.transpose(2, 3, 4, 0, 1)[..., None, None], view
            else:
                yield np.moveaxis(laid, 0, -2), view
            return
        for phase in range(min(step, edge)):
            lines = min(laid.shape[2], (wide.shape[1] - 1 - phase) // step + 1)
            places = (step * down, sample, step * right, right, *tail_strides)
            view = as_strided(wide[:, phase:], (lines, rows, across, edge, *tail), places)
            yield np.moveaxis(laid[:, phase, :lines], 0, -2), view
