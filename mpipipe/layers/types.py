"""What a layer is: the protocol that the pipeline drives, and the small types that pass through it.

A layer is a frozen dataclass of its settings. It owns no array: whoever runs it (a stage, a test, a residual block)
makes the arrays once, by the shapes that the layer states, and passes them in. So a layer allocates nothing, knows
nobody, and works in float32 and float64 alike.

Three functions do the maths, and they are apart because a schedule may run them at different times:

- F `forward`: y from x; leaves in `saved` what the other two will need;
- I `grad_input`: dx from dy; leaves in `held` what W will need;
- W `grad_weight`: adds one tile of the weights' gradient.

All arrays have the samples of one micro-batch as their first axis; shapes named here leave that axis out.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mpipipe.clock import REAL_CLOCK, Clock

Array = NDArray[Any]
Shape = tuple[int, ...]
Tree = dict[str, Any]
"""Arrays by name; a layer made of layers nests one Tree for each of them."""
Shapes = dict[str, Any]
"""Shapes by name, nested like the Tree they describe."""
Tile = tuple[int, ...]
"""One piece of a layer's W work: (first row, last row + 1) of a weight, behind the index of the inner layer if any."""


@dataclass(frozen=True)
class Key:
    """Names one stream of random numbers, so that any cut of the model and any order of work draws the same."""

    words: tuple[int, ...]

    def child(self, word: int) -> "Key":
        """The key of an inner stream."""
        return Key((*self.words, word))

    def generator(self) -> np.random.Generator:
        """A fresh generator at the start of this stream (Philox, Salmon et al. 2011)."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((len(self.words), *self.words))))


@dataclass(frozen=True)
class Work:
    """Work of one action for one sample: `flops` in matrix products, `elements` read or written by the rest.

    `seconds` pass besides, whatever the host's rates.
    """

    flops: float = 0.0
    elements: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.elements + other.elements, self.seconds + other.seconds)


@dataclass(frozen=True)
class Cost:
    """Work of F, I and W for one sample, and the most `scratch` elements a sample needs for a moment.

    `fixed` elements of scratch are needed besides, however many samples there are.
    """

    forward: Work = Work()
    grad_input: Work = Work()
    grad_weight: Work = Work()
    scratch: float = 0.0
    fixed: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.forward + other.forward,
            self.grad_input + other.grad_input,
            self.grad_weight + other.grad_weight,
            max(self.scratch, other.scratch),
            max(self.fixed, other.fixed),
        )


class Scratch:
    """Arrays for a moment, made once and handed out again: one Scratch for each worker thread; and its clock."""

    def __init__(self, clock: Clock = REAL_CLOCK) -> None:
        self.clock = clock
        self._pool: list[NDArray[np.uint8]] = []
        self._used = 0

    def take(self, shape: Shape, dtype: DTypeLike) -> Array:
        """An array with unknown contents, valid until the mark before it is released."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if self._used == len(self._pool):
            self._pool.append(np.empty(size, np.uint8))
        elif self._pool[self._used].nbytes < size:
            self._pool[self._used] = np.empty(size, np.uint8)
        block = self._pool[self._used]
        self._used += 1
        return block[:size].view(dtype).reshape(shape)

    def mark(self) -> int:
        """The place to `release` to."""
        return self._used

    def release(self, mark: int) -> None:
        """Hand back all that was taken since `mark`."""
        self._used = mark


class Layer(Protocol):
    """One layer. `reads_output`: whether I reads y, so that y must be kept as F left it."""

    kind: ClassVar[str]
    reads_output: ClassVar[bool]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of y for an x of `shape`. Raises ShapeError for a shape that the layer cannot take."""

    def parameters(self, shape: Shape) -> Shapes:
        """Shapes of the weights, in the order in which they are stored."""

    def saved(self, shape: Shape) -> Shapes:
        """Shapes, for each sample, of what F leaves for I and W besides x and y."""

    def held(self, shape: Shape) -> Shapes:
        """Shapes, for each sample, of what I leaves for W besides dy."""

    def cost(self, shape: Shape) -> Cost:
        """Work for one sample."""

    def initialise(self, p: Tree, key: Key) -> None:
        """Fill the weights in place."""

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Write y. `key` names the random numbers of this micro-batch in training; None when only evaluating."""

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Write dx, the loss's gradient by x, from dy, its gradient by y."""

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """The pieces of W, of about `rows` rows of a weight each. They fix the rounding, so they come from the job."""

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Add one tile of the weights' gradient to g, or write it where this is the batch's `first` micro-batch.

        Micro-batches come in ascending order.
        """


RUNNING = "running_"
"""Begins the names of weights that are not trained: W leaves their new value in g, and the update copies it."""


def is_running(path: str) -> bool:
    """Whether the weight at `path` follows the data (batchnorm's running statistics) instead of the optimizer."""
    return path.rpartition("/")[2].startswith(RUNNING)


class Weightless:
    """The parts of the protocol that say 'no weights', for layers that have none."""

    reads_output: ClassVar[bool] = False

    def parameters(self, shape: Shape) -> Shapes:
        """No weights."""
        return {}

    def saved(self, shape: Shape) -> Shapes:
        """Nothing saved."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing held."""
        return {}

    def initialise(self, p: Tree, key: Key) -> None:
        """Nothing to fill."""

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """No W work."""
        return ()

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Never called: there are no tiles."""
        raise AssertionError("a layer without weights has no W work")


def size(shape: Shape) -> int:
    """Elements of one sample."""
    return math.prod(shape)


def add_up(total: Array, part: Array, first: bool) -> None:
    """total = part for the first micro-batch, total += part afterwards."""
    if first:
        np.copyto(total, part)
    else:
        np.add(total, part, out=total)
