"""Layers by torch, from mpipipe's own layout of weights and samples, for record_layers.py. Needs no mpipipe.

A new kind is one entry in KINDS: a function that computes y, so that autograd gives gradients in mpipipe's layout, and
the shapes of its weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

Table = dict[str, Any]
Weights = dict[str, torch.Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """`weights(table, shape of a sample)`: their shapes by path; `forward(table, weights, x, training)`: y.

    Weights whose names begin with running_ are changed in place by `forward` in training.
    """

    forward: Callable[[Table, Weights, torch.Tensor, bool], torch.Tensor]
    weights: Callable[[Table, Shape], dict[str, Shape]] = lambda table, shape: {}


def images(x: torch.Tensor) -> torch.Tensor:
    """Samples as PyTorch has them: channels before height and width."""
    return x.movedim(-1, 1)


def conv2d(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    groups, size, _, _, share = w["weight"].shape
    weight = w["weight"].permute(0, 4, 3, 1, 2).reshape(groups * share, -1, size, size)
    more = {"stride": table.get("stride", 1), "padding": table.get("padding", 0), "groups": groups}
    return functional.conv2d(images(x), weight, w.get("bias"), **more).movedim(1, -1)


def conv2d_weights(table: Table, shape: Shape) -> dict[str, Shape]:
    groups, size, channels = table.get("groups", 1), table["size"], table["channels"]
    weight = {"weight": (groups, size, size, shape[2] // groups, channels // groups)}
    return weight | ({"bias": (channels,)} if table.get("bias", True) else {})


def pool(function: Callable[..., torch.Tensor]) -> Callable[[Table, Weights, torch.Tensor, bool], torch.Tensor]:
    def forward(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
        stride = table.get("stride", 0) or table["size"]
        return function(images(x), table["size"], stride, table.get("padding", 0)).movedim(1, -1)

    return forward


def batchnorm(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    running = (w["running_mean"], w["running_variance"], w["gain"], w["bias"], training)
    y = functional.batch_norm(images(x), *running, table.get("momentum", 0.1), table.get("epsilon", 1e-5))
    return y.movedim(1, -1)


def groupnorm(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    y = functional.group_norm(images(x), table["groups"], w["gain"], w["bias"], table.get("epsilon", 1e-5))
    return y.movedim(1, -1)


def layernorm(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:], w["gain"], w["bias"], table.get("epsilon", 1e-5))


def rmsnorm(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    return functional.rms_norm(x, x.shape[-1:], w["gain"], table.get("epsilon", 1e-6))


def linear(table: Table, w: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    return functional.linear(x, w["weight"].T, w.get("bias"))


def linear_weights(table: Table, shape: Shape) -> dict[str, Shape]:
    weight = {"weight": (shape[-1], table["outputs"])}
    return weight | ({"bias": (table["outputs"],)} if table.get("bias", True) else {})


def each_channel(*names: str) -> Callable[[Table, Shape], dict[str, Shape]]:
    return lambda table, shape: dict.fromkeys(names, shape[-1:])


KINDS: dict[str, Kind] = {
    "linear": Kind(linear, linear_weights),
    "relu": Kind(lambda table, w, x, training: functional.relu(x)),
    "gelu": Kind(lambda table, w, x, training: functional.gelu(x, approximate="tanh")),
    "reshape": Kind(lambda table, w, x, training: x.reshape(len(x), *table["shape"])),
    "layernorm": Kind(layernorm, each_channel("gain", "bias")),
    "rmsnorm": Kind(rmsnorm, each_channel("gain")),
    "groupnorm": Kind(groupnorm, each_channel("gain", "bias")),
    "batchnorm": Kind(batchnorm, each_channel("gain", "bias", "running_mean", "running_variance")),
    "conv2d": Kind(conv2d, conv2d_weights),
    "max_pool": Kind(pool(functional.max_pool2d)),
    "avg_pool": Kind(pool(functional.avg_pool2d)),
    "global_avg_pool": Kind(lambda table, w, x, training: x.mean((1, 2))),
}
