"""Tokens to vectors and back: the embedding, and an output layer that may share its weight."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpipipe.errors import ShapeError
from mpipipe.layers.products import add_product, as_rows, row_tiles
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, add_up, size


@dataclass(frozen=True)
class Embedding:
    """x (places,) of token numbers to y (places, width): weight[token] + position[place].

    Token numbers travel as floats, which hold every whole number below 2^24. Weight (tokens, width) and, unless
    `positions` is false, position (context, width) are drawn from a normal distribution of standard deviation
    `deviation` (Radford et al. 2018, section 4.1). `context` is the longest sequence; 0 takes the samples' length.
    """

    tokens: int
    width: int
    positions: bool = True
    context: int = 0
    deviation: float = 0.02
    kind: ClassVar[str] = "embedding"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """(places, width)."""
        if not 1 <= self.tokens < 2**24:
            raise ShapeError("embedding.tokens", f"{self.tokens}", "1 or more, below 2^24")
        if self.width < 1 or self.context < 0 or self.deviation <= 0:
            found = f"width {self.width}, context {self.context}, deviation {self.deviation}"
            raise ShapeError("embedding", found, "a width of 1 or more, a context of 0 or more, a deviation above 0")
        if len(shape) != 1 or not shape[0]:
            raise ShapeError("embedding", f"samples of shape {shape}", "(places,): one token number at each place")
        if self.context and shape[0] > self.context:
            remedy = "a smaller data.context, or a larger context of the layer"
            raise ShapeError(
                "embedding", f"sequences of {shape[0]} places", f"at most context = {self.context}", remedy
            )
        return (shape[0], self.width)

    def parameters(self, shape: Shape) -> Shapes:
        """The table of tokens, and that of positions."""
        table: Shapes = {"weight": (self.tokens, self.width)}
        return table | ({"position": (self.context or shape[0], self.width)} if self.positions else {})

    def saved(self, shape: Shape) -> Shapes:
        """Nothing: x is enough."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing: dy is enough."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """Passes over y: two in F, five in W (sorted by token, and summed), none worth counting in I."""
        out = float(size(shape) * self.width)
        return Cost(Work(0, 2 * out), Work(0, size(shape)), Work(0, 5 * out), 2 * out + 4 * size(shape))

    def initialise(self, p: Tree, key: Key) -> None:
        """Draw the tables, that of positions from a stream of its own."""
        draw_table(p["weight"], self.deviation, key)
        if self.positions:
            draw_table(p["position"], self.deviation, key.child(0))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Look up, and add the positions from the first on."""
        self.extend(p, x, y, {}, 0, scratch)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Token numbers have no gradient."""
        dx.fill(0)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """One piece."""
        return ((0, self.tokens),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Sums of dy: of each token, places in ascending order; of each place, samples in ascending order."""
        if first:
            g["weight"].fill(0)
            if self.positions:
                g["position"].fill(0)
        tokens = _numbers(x, scratch).reshape(-1)
        order = np.argsort(tokens, kind="stable")
        kinds, starts = np.unique(tokens[order], return_index=True)
        by_token = scratch.take((tokens.size, self.width), dy.dtype)
        np.take(as_rows(dy), order, axis=0, out=by_token, mode="clip")
        sums = scratch.take((len(kinds), self.width), dy.dtype)
        np.add.reduceat(by_token, starts, axis=0, out=sums)
        so_far = np.take(g["weight"], kinds, axis=0, out=by_token[: len(kinds)], mode="clip")
        g["weight"][kinds] = np.add(so_far, sums, out=sums)
        if self.positions:
            total = by_token[: dy.shape[1]]
            add_up(g["position"][: dy.shape[1]], np.sum(dy, axis=0, out=total), False)

    def cache(self, shape: Shape) -> Shapes:
        """Nothing."""
        return {}

    def extend(self, p: Tree, x: Array, y: Array, cache: Tree, start: int, scratch: Scratch) -> None:
        """Look up places `start` and on."""
        np.take(p["weight"], _numbers(x, scratch), axis=0, out=y, mode="clip")
        if self.positions:
            np.add(y, p["position"][start : start + x.shape[1]], out=y)


@dataclass(frozen=True)
class Unembedding:
    """x (..., width) to y (..., tokens) = x weight^T, where weight (tokens, width) is the embedding's own.

    The two are one weight (Press and Wolf 2017): each stage has a copy, both start from the same draw and are updated
    by the sum of both gradients, so they stay the same, bit for bit. The model's first layer must be the embedding.
    """

    tokens: int
    deviation: float = 0.02
    kind: ClassVar[str] = "unembedding"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """(..., tokens)."""
        if not 1 <= self.tokens < 2**24:
            raise ShapeError("unembedding.tokens", f"{self.tokens}", "1 or more, below 2^24")
        if not shape:
            raise ShapeError("unembedding", "an input of shape ()", "at least one axis")
        return (*shape[:-1], self.tokens)

    def parameters(self, shape: Shape) -> Shapes:
        """The copy of the embedding's weight."""
        return {"weight": (self.tokens, shape[-1])}

    def saved(self, shape: Shape) -> Shapes:
        """Nothing."""
        return {}

    def held(self, shape: Shape) -> Shapes:
        """Nothing."""
        return {}

    def cost(self, shape: Shape) -> Cost:
        """2 flops for each weight and row, three times."""
        product = Work(2.0 * size(shape) * self.tokens)
        return Cost(product, product, product)

    def initialise(self, p: Tree, key: Key) -> None:
        """As the embedding does, whose key it gets."""
        draw_table(p["weight"], self.deviation, key)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """One product."""
        np.matmul(as_rows(x), p["weight"].T, out=as_rows(y))

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Dx = dy weight."""
        np.matmul(as_rows(dy), p["weight"], out=as_rows(dx))

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """Runs of `rows` tokens."""
        return row_tiles(self.tokens, rows)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """Rows of dy^T x."""
        start, stop = tile
        add_product(as_rows(dy)[:, start:stop].T, as_rows(x), g["weight"][start:stop], first, scratch)


def draw_table(table: Array, deviation: float, key: Key) -> None:
    """Normal numbers of that standard deviation."""
    key.generator().standard_normal(dtype=table.dtype, out=table)
    np.multiply(table, deviation, out=table)


def _numbers(x: Array, scratch: Scratch) -> NDArray[Any]:
    numbers = scratch.take(x.shape, np.intp)
    np.copyto(numbers, x, casting="unsafe")
    return numbers
