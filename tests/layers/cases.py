"""Every layer kind with shapes that it takes, and random nested blocks. A new kind needs a case here."""

from typing import Any

from hypothesis import strategies as st

from mpipipe.layers import Shape

from . import text_cases
from .image_cases import IMAGE_CASES, IMAGE_LAYERS

SHAPES: list[Shape] = [(5,), (1,), (3, 4), (2, 3, 2)]
"""Samples of one, two and three axes; (3, 4) is also a sequence of 3 places with 4 features."""

EVERYTHING: list[dict[str, Any]] = [
    {"kind": "layernorm"},
    {"kind": "linear", "outputs": 7},
    {"kind": "gelu"},
    {"kind": "dropout", "rate": 0.3},
    {"kind": "flatten"},
    {"kind": "linear", "outputs": 6, "bias": False},
    {"kind": "residual", "layers": [{"kind": "linear", "outputs": 6}, {"kind": "tanh"}]},
    {"kind": "leaky_relu", "slope": 0.2},
    {"kind": "linear", "outputs": 4, "gain": 0.5},
    {"kind": "relu"},
    {"kind": "linear", "outputs": 5},
    {"kind": "sigmoid"},
    {"kind": "sleep", "forward_s": 1e-6},
    *IMAGE_LAYERS,
]
"""A block's inner layers for samples of shape (5,), with every kind in it."""


def block(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "residual", "layers": list(layers)}


def linear(outputs: int, **more: Any) -> dict[str, Any]:
    return {"kind": "linear", "outputs": outputs, **more}


CASES: dict[str, list[tuple[dict[str, Any], Shape]]] = {
    "linear": [
        *((linear(4), shape) for shape in SHAPES),
        (linear(1), (6,)),
        (linear(3, bias=False, gain=0.1), (2, 5)),
    ],
    "relu": [({"kind": "relu"}, shape) for shape in [*SHAPES, ()]],
    "leaky_relu": [({"kind": "leaky_relu", "slope": slope}, shape) for shape in SHAPES for slope in (0.01, 0.3)],
    "tanh": [({"kind": "tanh"}, shape) for shape in SHAPES],
    "sigmoid": [({"kind": "sigmoid"}, shape) for shape in SHAPES],
    "gelu": [({"kind": "gelu"}, shape) for shape in SHAPES],
    "dropout": [({"kind": "dropout", "rate": rate}, shape) for shape in SHAPES for rate in (0.0, 0.5)],
    "layernorm": [
        *(({"kind": "layernorm"}, shape) for shape in [(5,), (3, 4), (2, 3, 2)]),
        ({"kind": "layernorm", "epsilon": 0.1}, (1,)),
    ],
    "sleep": [({"kind": "sleep", "forward_s": 1e-6, "input_s": 2e-6, "weight_s": 1e-6}, shape) for shape in SHAPES],
    "flatten": [({"kind": "flatten"}, shape) for shape in SHAPES],
    "residual": [
        (block(*EVERYTHING), (5,)),
        (block({"kind": "tanh"}), (3, 4)),
        (block(linear(4)), (4,)),
        (block(linear(4)), (2, 4)),
        (block({"kind": "layernorm"}, linear(8), {"kind": "gelu"}, linear(4)), (3, 4)),
        (block(block(block({"kind": "relu"}))), (5,)),
        (block(block(linear(3), block({"kind": "sigmoid"})), linear(3), block(linear(2), linear(3))), (2, 3)),
        (block(linear(2), block({"kind": "tanh"}, linear(2)), linear(4), {"kind": "dropout", "rate": 0.25}), (4,)),
        *text_cases.BLOCKS,
    ],
    **IMAGE_CASES,
    **text_cases.CASES,
}


def flat_cases() -> list[tuple[dict[str, Any], Shape]]:
    return [case for cases in CASES.values() for case in cases]


def name_of(item: Any) -> str:
    """A short test id."""
    return item["kind"] if isinstance(item, dict) else str(item).replace(" ", "")


def kinds_in(tables: list[dict[str, Any]]) -> set[str]:
    """All kinds in those tables and the blocks among them."""
    inner = [kinds_in(table["layers"]) for table in tables if "layers" in table]
    return {table["kind"] for table in tables}.union(*inner)


def blocks(features: int, depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Random blocks, nested up to `depth`, for samples whose last axis has `features`."""
    smooth = [{"kind": kind} for kind in ("tanh", "sigmoid", "gelu", "layernorm")]
    same = st.sampled_from([*smooth, {"kind": "dropout", "rate": 0.4}, linear(features), linear(features, bias=False)])
    pair = st.sampled_from([[linear(wide), linear(features)] for wide in (1, 3, 6)])
    single = same if depth == 0 else st.one_of(same, blocks(features, depth - 1))
    pieces = st.lists(st.one_of(single.map(lambda table: [table]), pair), min_size=1, max_size=3)
    return pieces.map(lambda lists: block(*(table for tables in lists for table in tables)))


def apart(cases: Any) -> list[Any]:
    """Those in which a sample does not depend on its company, as it does on a micro-batch's mask or statistics."""
    return [(table, shape) for table, shape in cases if not {"dropout", "batchnorm"} & kinds_in([table])]
