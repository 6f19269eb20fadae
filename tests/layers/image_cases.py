"""Cases of the layers for images, and of the norms beside layernorm. cases.py takes them in."""

from typing import Any

from mpipipe.layers import Shape


def conv(channels: int, size: int, **more: Any) -> dict[str, Any]:
    return {"kind": "conv2d", "channels": channels, "size": size, **more}


def pool(kind: str, size: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "size": size, **more}


def _pools(kind: str) -> list[tuple[dict[str, Any], Shape]]:
    return [
        (pool(kind, 2), (4, 6, 3)),
        (pool(kind, 2), (5, 3, 2)),
        (pool(kind, 3, stride=2, padding=1), (5, 6, 2)),
        (pool(kind, 2, stride=1), (3, 4, 2)),
        (pool(kind, 2, stride=3, padding=1), (6, 5, 1)),
        (pool(kind, 1), (2, 2, 2)),
    ]


IMAGE_CASES: dict[str, list[tuple[dict[str, Any], Shape]]] = {
    "reshape": [
        ({"kind": "reshape", "shape": [2, 3, 1]}, (6,)),
        ({"kind": "reshape", "shape": [6]}, (3, 2)),
        ({"kind": "reshape", "shape": [2, 2, 3]}, (4, 3)),
    ],
    "conv2d": [
        (conv(2, 3, padding=1), (4, 5, 1)),
        (conv(3, 3, padding=1), (4, 3, 2)),
        (conv(2, 3, padding=1), (4, 3, 12)),
        (conv(4, 2, stride=2, groups=2, bias=False), (5, 4, 4)),
        (conv(2, 3, stride=2, padding=2, gain=0.5), (5, 6, 11)),
        (conv(4, 3, stride=2, groups=2), (5, 5, 24)),
        (conv(3, 1), (3, 2, 4)),
        (conv(2, 1, stride=2), (3, 4, 33)),
        (conv(1, 2, stride=3), (6, 5, 16)),
        (conv(3, 2, groups=3), (3, 3, 3)),
        (conv(2, 4, padding=1), (2, 2, 9)),
        (conv(4, 3, bias=False), (3, 3, 12)),
    ],
    "max_pool": _pools("max_pool"),
    "avg_pool": _pools("avg_pool"),
    "global_avg_pool": [({"kind": "global_avg_pool"}, shape) for shape in [(3, 4, 2), (1, 1, 3), (5, 2, 1)]],
    "batchnorm": [
        ({"kind": "batchnorm"}, (4, 3, 2)),
        ({"kind": "batchnorm"}, (5,)),
        ({"kind": "batchnorm", "momentum": 0.3, "epsilon": 0.1}, (3, 4)),
    ],
    "groupnorm": [
        ({"kind": "groupnorm", "groups": 2}, (3, 2, 4)),
        ({"kind": "groupnorm", "groups": 1}, (3, 4)),
        ({"kind": "groupnorm", "groups": 4, "epsilon": 0.1}, (2, 8)),
        ({"kind": "groupnorm", "groups": 2}, (6,)),
    ],
    "rmsnorm": [
        ({"kind": "rmsnorm"}, (5,)),
        ({"kind": "rmsnorm", "epsilon": 0.1}, (3, 4)),
        ({"kind": "rmsnorm"}, (2, 3, 2)),
    ],
}

IMAGE_LAYERS: list[dict[str, Any]] = [
    {"kind": "rmsnorm"},
    {"kind": "linear", "outputs": 12},
    {"kind": "reshape", "shape": [2, 3, 2]},
    conv(4, 3, padding=1),
    {"kind": "batchnorm", "epsilon": 0.1},
    pool("max_pool", 2, stride=1),
    {"kind": "groupnorm", "groups": 2, "epsilon": 0.1},
    pool("avg_pool", 2, stride=1, padding=1),
    conv(5, 2),
    {"kind": "global_avg_pool"},
]
"""A block's inner layers for samples of shape (5,)."""
