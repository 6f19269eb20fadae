"""Every layer by the name that a job calls it, and layers built from a job's tables. A new layer is one name here."""

from collections.abc import Iterator
from typing import Any

from mpipipe.errors import JobError, nearest
from mpipipe.layers.activations import Gelu, LeakyRelu, Relu, Sigmoid, Tanh
from mpipipe.layers.attention import Attention
from mpipipe.layers.batchnorm import BatchNorm
from mpipipe.layers.blocks import Mlp, Transformer
from mpipipe.layers.conv import Conv2d
from mpipipe.layers.dropout import Dropout
from mpipipe.layers.embedding import Embedding, Unembedding
from mpipipe.layers.flatten import Flatten, Reshape
from mpipipe.layers.groupnorm import GroupNorm
from mpipipe.layers.linear import Linear
from mpipipe.layers.norm import LayerNorm
from mpipipe.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from mpipipe.layers.residual import Residual
from mpipipe.layers.rmsnorm import RmsNorm
from mpipipe.layers.sleep import Sleep
from mpipipe.layers.swiglu import SwiGlu
from mpipipe.layers.types import Layer
from mpipipe.records import from_plain

MOST_REPEATS = 1000
KINDS: dict[str, Any] = {
    kind.kind: kind
    for kind in (
        *(Linear, Relu, LeakyRelu, Tanh, Sigmoid, Gelu, SwiGlu, Dropout, LayerNorm, RmsNorm, Residual),
        *(Flatten, Reshape, Conv2d, MaxPool, AvgPool, GlobalAvgPool, BatchNorm, GroupNorm),
        *(Embedding, Unembedding, Attention, Sleep),
    )
}
SHORTHANDS: dict[str, Any] = {"mlp": Mlp, "transformer": Transformer}
"""Names that stand for layers made of other layers."""


def build_layers(tables: Any, where: str) -> Iterator[Layer]:
    """The layers of a list of tables; `repeat = N` stands for N alike. Raises JobError."""
    if not isinstance(tables, (list, tuple)):
        raise JobError(where, f"{tables!r}", "a list of tables, each with a kind")
    for index, table in enumerate(tables):
        at = f"{where}[{index}]"
        if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
            raise JobError(at, f"{table!r}", "a table with a kind", nearest("", {**KINDS, **SHORTHANDS}))
        kind, repeat = table["kind"], table.get("repeat", 1)
        known = {**KINDS, **SHORTHANDS}
        if kind not in known:
            raise JobError(f"{at}.kind", f"unknown layer '{kind}'", remedy=nearest(kind, known))
        if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= MOST_REPEATS:
            raise JobError(f"{at}.repeat", f"{repeat!r}", f"a whole number from 1 to {MOST_REPEATS}")
        rest = {key: value for key, value in table.items() if key not in ("kind", "repeat")}
        yield from _build(known[kind], rest, at) * repeat


def _build(kind: Any, table: dict[str, Any], where: str) -> list[Layer]:
    if kind is Residual:
        inner = dict(table)
        layers = tuple(build_layers(inner.pop("layers", None), f"{where}.layers"))
        if inner:
            raise JobError(f"{where}.{next(iter(inner))}", "unknown key", remedy="known are kind, layers, repeat")
        if any(isinstance(one, Unembedding) for one in layers):
            raise JobError(f"{where}.layers", "an unembedding within a block", "it to be a layer of the model itself")
        return [Residual(layers)]
    if kind is Unembedding and "deviation" in table:
        raise JobError(
            f"{where}.deviation", "unknown key", remedy="the weight is the embedding's, drawn as that one is"
        )
    layer: Any = from_plain(kind, table, where, JobError)
    return list(layer.layers(where)) if kind in SHORTHANDS.values() else [layer]
