"""The layers of text models in PyTorch, for record_text.py: what they compute, and the shapes of their weights.

Weights have mpipipe's names and shapes: linear ones are (inputs, outputs).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]


def linear(p: Weights, path: str, x: Tensor) -> Tensor:
    """A dense layer whose weight is (inputs, outputs)."""
    return functional.linear(x, p[f"{path}/weight"].T, p.get(f"{path}/bias"))


def norm(p: Weights, path: str, x: Tensor) -> Tensor:
    """Layer normalisation."""
    return functional.layer_norm(x, x.shape[-1:], p[f"{path}/gain"], p[f"{path}/bias"])


def rotate(x: Tensor) -> Tensor:
    """GPT-NeoX's rotary embedding of (..., places, d): x cos + rotate_half(x) sin."""
    places, d = x.shape[-2:]
    rates = 1.0 / 10000.0 ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.outer(torch.arange(places, dtype=torch.float64), rates)
    angles = torch.cat([angles, angles], dim=-1)
    half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], dim=-1)
    return x * angles.cos().to(x.dtype) + half * angles.sin().to(x.dtype)


def attention(p: Weights, at: str, x: Tensor, table: dict[str, Any]) -> Tensor:
    """By scaled_dot_product_attention; keys and values are repeated for the heads that share them."""
    heads = table["heads"]
    groups, (samples, places, width) = table.get("key_value_heads", 0) or heads, x.shape
    d = width // heads
    parts = linear(p, f"{at}qkv", x).split([heads * d, groups * d, groups * d], dim=-1)
    q, k, v = (part.reshape(samples, places, -1, d).transpose(1, 2) for part in parts)
    if table.get("rotary"):
        q, k = rotate(q), rotate(k)
    k, v = (part.repeat_interleave(heads // groups, dim=1) for part in (k, v))
    out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear(p, f"{at}mix", out.transpose(1, 2).reshape(samples, places, width))


def swiglu(x: Tensor) -> Tensor:
    """silu(a) b."""
    a, b = x.chunk(2, dim=-1)
    return functional.silu(a) * b


def embedding(p: Weights, at: str, x: Tensor) -> Tensor:
    """Tokens and, where there are such, positions."""
    y = functional.embedding(x.long(), p[f"{at}weight"])
    return y + p[f"{at}position"][: x.shape[1]] if f"{at}position" in p else y


def mlp(p: Weights, at: str, x: Tensor, table: dict[str, Any]) -> Tensor:
    """A block of norm, linear, activation, linear."""
    wide = linear(p, f"{at}1_linear", norm(p, f"{at}0_layernorm", x))
    gated = table.get("activation", "gelu") == "swiglu"
    return x + linear(p, f"{at}3_linear", swiglu(wide) if gated else functional.gelu(wide, approximate="tanh"))


def mixing(p: Weights, at: str, x: Tensor, table: dict[str, Any]) -> Tensor:
    """A block of norm, attention."""
    return x + attention(p, f"{at}1_attention/", norm(p, f"{at}0_layernorm", x), table)


# ---- weights ----------------------------------------------------------------------------------------------------


def attention_shapes(at: str, width: int, table: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of the two products."""
    groups = table.get("key_value_heads", 0) or table["heads"]
    both = width // table["heads"] * (table["heads"] + 2 * groups)
    shapes: dict[str, tuple[int, ...]] = {f"{at}qkv/weight": (width, both), f"{at}mix/weight": (width, width)}
    return shapes | ({f"{at}qkv/bias": (both,), f"{at}mix/bias": (width,)} if table.get("bias", True) else {})


def norm_shapes(at: str, width: int) -> dict[str, tuple[int, ...]]:
    """Gain and bias."""
    return {f"{at}/gain": (width,), f"{at}/bias": (width,)}


def mlp_shapes(at: str, width: int, table: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of the norm and the two products."""
    hidden = table["hidden"]
    wide = hidden * (2 if table.get("activation") == "swiglu" else 1)
    shapes: dict[str, tuple[int, ...]] = {
        f"{at}1_linear/weight": (width, wide),
        f"{at}3_linear/weight": (hidden, width),
    }
    biases = {f"{at}1_linear/bias": (wide,), f"{at}3_linear/bias": (width,)} if table.get("bias", True) else {}
    return norm_shapes(f"{at}0_layernorm", width) | shapes | biases
