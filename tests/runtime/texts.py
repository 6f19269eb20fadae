"""Text models to test with: a small one, random ones, and a layer with weights that follow the data."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st

from mpipipe.layers import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Weightless, Work

from .cases import Case, block, linear, make_case, places

TOKENS, WIDTH = 7, 4


def gpt(width: int = WIDTH, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """Seven layers: two transformers between an embedding and the same weight again."""
    plain = {"kind": "transformer", "width": width, "heads": 2, "hidden": 6}
    rotary = {**plain, "key_value_heads": 1, "rotary": True, "activation": "swiglu", "bias": False}
    ends = {"kind": "embedding", "tokens": tokens, "width": width}, {"kind": "unembedding", "tokens": tokens}
    return [ends[0], plain, rotary, {"kind": "layernorm"}, ends[1]]


@st.composite
def text_cases(draw: st.DrawFn, most_ranks: int = 4, ties: bool = True) -> Case:
    """A text model, tied or not, on up to `most_ranks` ranks, some perhaps idle."""
    tied = ties or draw(st.booleans())
    inner = st.sampled_from(
        [
            {"kind": "layernorm"},
            {"kind": "gelu"},
            {"kind": "dropout", "rate": 0.3},
            {"kind": "attention", "heads": 2, "key_value_heads": 1},
            block({"kind": "layernorm"}, {"kind": "attention", "heads": 2, "rotary": True}),
            block(linear(6), {"kind": "swiglu"}, linear(WIDTH)),
        ]
    )
    middle = draw(st.lists(inner, max_size=4))
    first = {"kind": "embedding", "tokens": TOKENS, "width": WIDTH, "positions": draw(st.booleans())}
    last = {"kind": "unembedding", "tokens": TOKENS} if tied else linear(TOKENS)
    layers = [first, *middle, last]
    batch = draw(st.integers(1, 7))
    return make_case(
        layers,
        (draw(st.integers(1, 5)),),
        **draw(places(len(layers), most_ranks)),
        count=draw(st.integers(1, 12)),
        slots=draw(st.integers(1, 3)),
        part_flops=draw(st.sampled_from([0.0, 500.0, 8e6])),
        batch=batch,
        micro_batch=draw(st.integers(1, batch)),
        tile_rows=draw(st.sampled_from([1, 3, 480])),
        optimizer=draw(st.sampled_from(["sgd", "adam", "adamw"])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        clip_norm=draw(st.sampled_from([0.0, 0.05, 1e3])),
        seed=draw(st.integers(0, 2**40)),
    )


class Silent(Case):
    """A case in which the targets of the first `silent` samples are all ignored."""

    silent: ClassVar[int] = 10**9

    def feed(self, rows: Array, x: Array, t: Array | None) -> None:
        super().feed(rows, x, t)
        if t is not None:
            t[rows < self.silent] = -1


@dataclass(frozen=True)
class Following(Weightless):
    """y = gain (x - mean) over features; `running_mean` takes a tenth of the way to each micro-batch's mean."""

    kind: ClassVar[str] = "following"

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        return {"gain": shape[-1:], "running_mean": shape[-1:]}

    def cost(self, shape: Shape) -> Cost:
        return Cost(Work(0, 1), Work(0, 1), Work(0, 1), 2.0 * shape[-1])

    def initialise(self, p: Tree, key: Key) -> None:
        p["gain"].fill(1)
        p["running_mean"].fill(0)

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        np.subtract(x, p["running_mean"], out=y)
        np.multiply(y, p["gain"], out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        np.multiply(dy, p["gain"], out=dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        return ((0, shape[-1]),)

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        if first:
            g["gain"].fill(0)
            np.copyto(g["running_mean"], p["running_mean"])
        g["gain"] += np.sum(dy * (x - p["running_mean"]), axis=tuple(range(dy.ndim - 1)))
        g["running_mean"] *= 0.9
        g["running_mean"] += 0.1 * np.mean(x, axis=tuple(range(x.ndim - 1)))
