"""Runs any layer by its protocol, as a stage would: arrays made once by the stated shapes, then F, I and W.

All arrays that the layer must write start as NaN, so what it forgets to write shows up in the results.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpipipe.layers import Array, Key, Layer, Scratch, Shape, Tree, build_layers, leaves, make_tree
from mpipipe.layers.embedding import Embedding

KEY = Key((1, 2, 3))
"""The random stream of a training micro-batch; any will do."""


class DirtyScratch(Scratch):
    """Hands out arrays full of NaN, and notes the types and the most bytes that were out at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[np.dtype[Any]] = set()
        self.peak_bytes = 0
        self._out: list[int] = []

    def take(self, shape: Shape, dtype: Any) -> Array:
        array = super().take(shape, dtype)
        array.view(np.uint8).fill(0xFF)
        self.dtypes.add(array.dtype)
        self._out.append(array.nbytes)
        self.peak_bytes = max(self.peak_bytes, sum(self._out))
        return array

    def release(self, mark: int) -> None:
        super().release(mark)
        del self._out[mark:]


@dataclass
class Run:
    """One layer with the arrays of one micro-batch. `x` and `dy` are random, the rest is the layer's to write."""

    layer: Layer
    shape: Shape
    p: Tree
    g: Tree
    x: Array
    y: Array
    dx: Array
    dy: Array
    saved: Tree
    held: Tree
    scratch: Scratch = field(default_factory=DirtyScratch)
    key: Key | None = KEY

    def forward(self) -> Array:
        """F: y."""
        mark = self.scratch.mark()
        self.layer.forward(self.p, self.x, self.y, self.saved, self.key, self.scratch)
        self.scratch.release(mark)
        return self.y

    def grad_input(self) -> Array:
        """I: dx."""
        mark = self.scratch.mark()
        self.layer.grad_input(self.p, self.x, self.y, self.dy, self.dx, self.saved, self.held, self.scratch)
        self.scratch.release(mark)
        return self.dx

    def grad_weight(self, rows: int = 1000, first: bool = True, into: Tree | None = None) -> Tree:
        """W over all tiles of `rows` rows: g."""
        g = self.g if into is None else into
        for tile in self.layer.tiles(self.shape, rows):
            mark = self.scratch.mark()
            self.layer.grad_weight(self.p, tile, self.x, self.dy, self.saved, self.held, g, first, self.scratch)
            self.scratch.release(mark)
        return g

    def all(self, rows: int = 1000) -> "Run":
        """F, I and W."""
        self.forward()
        self.grad_input()
        self.grad_weight(rows)
        return self

    def written(self) -> list[tuple[str, Array]]:
        """Every array that F, I and W had to write."""
        trees: Tree = {"g": self.g, "saved": self.saved, "held": self.held, "y": self.y, "dx": self.dx}
        return list(leaves(trees))

    def given(self) -> list[tuple[str, Array]]:
        """Every array that F, I and W may only read."""
        return list(leaves({"p": self.p, "x": self.x, "dy": self.dy}))


def build(table: dict[str, Any]) -> Layer:
    """The layer of a job's table."""
    (layer,) = build_layers([table], "layers")
    return layer


def make_run(
    layer: Layer, shape: Shape, rows: int = 3, dtype: Any = np.float64, seed: int = 0, scratch: Scratch | None = None
) -> Run:
    """A run with weights drawn by the layer, then shaken so that no bias is 0 and no gain 1."""
    random = np.random.default_rng(seed)
    out = layer.output_shape(shape)
    p = make_tree(layer.parameters(shape), dtype)
    layer.initialise(p, Key((seed,)))
    for _, weight in leaves(p):
        weight += 0.3 * random.standard_normal(weight.shape).astype(dtype)
    return Run(
        layer=layer,
        shape=shape,
        p=p,
        g=blank(make_tree(layer.parameters(shape), dtype)),
        x=draw_x(layer, (rows, *shape), random).astype(dtype),
        y=np.full((rows, *out), np.nan, dtype),
        dx=np.full((rows, *shape), np.nan, dtype),
        dy=random.standard_normal((rows, *out)).astype(dtype),
        saved=blank(make_tree(layer.saved(shape), dtype, rows)),
        held=blank(make_tree(layer.held(shape), dtype, rows)),
        scratch=scratch or DirtyScratch(),
    )


def draw_x(layer: Layer, shape: Shape, random: np.random.Generator) -> Array:
    """What a layer may be given: whole numbers of tokens for an embedding, normal numbers for all others."""
    if isinstance(layer, Embedding):
        return random.integers(0, layer.tokens, shape)
    return random.standard_normal(shape)


def part(run: Run, start: int, stop: int) -> Run:
    """A run of rows `start` to `stop - 1` alone, with the same weights and arrays of its own."""
    piece = make_run(run.layer, run.shape, stop - start, run.x.dtype)
    piece.p, piece.key = run.p, run.key
    piece.x[...], piece.dy[...] = run.x[start:stop], run.dy[start:stop]
    return piece


def blank(tree: Tree) -> Tree:
    """The tree, filled with NaN."""
    for _, array in leaves(tree):
        array.fill(np.nan)
    return tree


def copies(arrays: list[tuple[str, Array]]) -> dict[str, Array]:
    """Copies by path, to compare with later."""
    return {path: array.copy() for path, array in arrays}


def differences(value: Any, array: Array, step: float = 1e-5) -> Array:
    """Central finite differences of `value()` by each element of `array`, which is changed and put back."""
    slopes, flat = np.empty(array.size), array.reshape(-1)
    for i in range(array.size):
        kept = flat[i]
        flat[i] = kept + step
        above = value()
        flat[i] = kept - step
        slopes[i] = (above - value()) / (2 * step)
        flat[i] = kept
    return slopes.reshape(array.shape)
