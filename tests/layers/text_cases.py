"""Cases of the layers that text models are made of; cases.py adds them to the others."""

from typing import Any

from mpipipe.layers import Shape


def attention(heads: int, **more: Any) -> dict[str, Any]:
    return {"kind": "attention", "heads": heads, **more}


def embedding(tokens: int, width: int, **more: Any) -> dict[str, Any]:
    return {"kind": "embedding", "tokens": tokens, "width": width, **more}


ENDS = {"embedding", "unembedding"}
"""Kinds that stand at the ends of a model, never in a block."""

BLOCK: list[dict[str, Any]] = [
    {"kind": "layernorm"},
    attention(2),
    {"kind": "linear", "outputs": 12},
    {"kind": "swiglu"},
    attention(3, key_value_heads=1, rotary=True, bias=False),
    {"kind": "linear", "outputs": 4},
]
"""A block's inner layers for samples of shape (3, 4), with every kind of a text model that a block may hold."""

BLOCKS: list[tuple[dict[str, Any], Shape]] = [
    ({"kind": "residual", "layers": BLOCK}, (3, 4)),
    ({"kind": "residual", "layers": [{"kind": "layernorm"}, attention(2)]}, (5, 4)),
    (
        {"kind": "residual", "layers": [{"kind": "linear", "outputs": 6}, {"kind": "swiglu"}]},
        (3,),
    ),
]

CASES: dict[str, list[tuple[dict[str, Any], Shape]]] = {
    "embedding": [
        (embedding(5, 3), (4,)),
        (embedding(2, 3), (7,)),
        (embedding(40, 9), (3,)),
        (embedding(1, 1), (1,)),
        (embedding(5, 3, positions=False), (4,)),
        (embedding(4, 2, context=6, deviation=0.5), (4,)),
    ],
    "unembedding": [
        ({"kind": "unembedding", "tokens": tokens}, shape) for tokens in (2, 5) for shape in [(2, 3), (1, 4)]
    ]
    + [({"kind": "unembedding", "tokens": 1}, (3, 1))],
    "attention": [
        (attention(1), (4, 3)),
        (attention(2), (3, 4)),
        (attention(4), (5, 4)),
        (attention(4, key_value_heads=2), (3, 8)),
        (attention(3, key_value_heads=1, gain=0.5), (4, 6)),
        (attention(1, rotary=True), (4, 2)),
        (attention(2, rotary=True), (3, 8)),
        (attention(4, key_value_heads=2, rotary=True, bias=False), (3, 8)),
        (attention(2, bias=False), (3, 4)),
        (attention(2), (1, 4)),
        (attention(4, key_value_heads=1, rotary=True), (1, 8)),
    ],
    "swiglu": [({"kind": "swiglu"}, shape) for shape in [(2,), (6,), (3, 4), (2, 3, 2)]],
}
