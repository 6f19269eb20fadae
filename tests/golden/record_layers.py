"""Records single layers and losses of PyTorch into layers.h5, for test_layers.py to compare with. Run once.

    python3 -m venv /tmp/record && /tmp/record/bin/pip install torch==2.13.0 numpy h5py
    /tmp/record/bin/python tests/golden/record_layers.py

It needs no mpipipe. A new kind of layer is one entry in KINDS (torch_layers.py) and cases in CASES; a new loss is one
entry in LOSSES. Everything is computed in float64, from numbers that float32 holds exactly.
"""

import datetime
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional
from torch_layers import KINDS, Shape, Table, Weights

OUT = Path(__file__).parent / "layers.h5"
SEED = 30


@dataclass(frozen=True)
class Case:
    """One layer on `micros` micro-batches of `rows` samples, whose weight gradients add up.

    `table` is the layer's table in a job without its kind; whole inputs up to `integers` are drawn where that is given.
    """

    kind: str
    table: Table
    shape: Shape
    rows: int = 3
    micros: int = 1
    training: bool = True
    integers: int = 0


@dataclass(frozen=True)
class LossCase:
    """`forward(y, target)`: the sum of the samples' losses. `target(random, rows)` draws the targets."""

    kind: str
    shape: Shape
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    target: Callable[[np.random.Generator, int], np.ndarray]
    rows: int = 4
    settings: Table = field(default_factory=dict)


CASES: dict[str, Case] = {
    "linear": Case("linear", {"outputs": 4}, (5,), micros=2),
    "linear-sequence-no-bias": Case("linear", {"outputs": 4, "bias": False}, (3, 5)),
    "relu": Case("relu", {}, (4, 5)),
    "gelu": Case("gelu", {}, (4, 5)),
    "reshape": Case("reshape", {"shape": [4, 3, 1]}, (12,)),
    "layernorm": Case("layernorm", {}, (3, 6), micros=2),
    "rmsnorm": Case("rmsnorm", {}, (3, 6), micros=2),
    "rmsnorm-epsilon": Case("rmsnorm", {"epsilon": 0.1}, (6,)),
    "groupnorm": Case("groupnorm", {"groups": 2}, (3, 4, 6), micros=2),
    "groupnorm-one": Case("groupnorm", {"groups": 1}, (2, 4)),
    "groupnorm-instance": Case("groupnorm", {"groups": 4, "epsilon": 0.01}, (3, 3, 4)),
    "batchnorm": Case("batchnorm", {}, (4, 3, 5), micros=2),
    "batchnorm-flat": Case("batchnorm", {"momentum": 0.3, "epsilon": 0.01}, (6,), rows=5, micros=2),
    "batchnorm-evaluating": Case("batchnorm", {}, (4, 3, 5), training=False),
    "conv2d": Case("conv2d", {"channels": 4, "size": 3}, (6, 5, 3), micros=2),
    "conv2d-grey": Case("conv2d", {"channels": 4, "size": 5, "padding": 2}, (7, 6, 1)),
    "conv2d-padding": Case("conv2d", {"channels": 3, "size": 3, "padding": 1}, (5, 8, 12), micros=2),
    "conv2d-stride": Case("conv2d", {"channels": 3, "size": 3, "stride": 2, "padding": 1}, (7, 6, 12)),
    "conv2d-wide-stride": Case("conv2d", {"channels": 3, "size": 2, "stride": 3}, (8, 7, 16)),
    "conv2d-groups": Case("conv2d", {"channels": 6, "size": 3, "padding": 2, "groups": 3}, (4, 5, 9)),
    "conv2d-deep-groups": Case("conv2d", {"channels": 4, "size": 3, "stride": 2, "groups": 2}, (5, 6, 24)),
    "conv2d-depthwise": Case("conv2d", {"channels": 4, "size": 3, "padding": 1, "groups": 4}, (5, 4, 4)),
    "conv2d-1x1": Case("conv2d", {"channels": 5, "size": 1}, (3, 4, 6)),
    "conv2d-1x1-stride": Case("conv2d", {"channels": 5, "size": 1, "stride": 2}, (5, 4, 40)),
    "conv2d-no-bias": Case("conv2d", {"channels": 4, "size": 4, "padding": 3, "bias": False}, (4, 6, 8)),
    "max_pool": Case("max_pool", {"size": 2}, (6, 4, 3)),
    "max_pool-uneven": Case("max_pool", {"size": 2}, (5, 7, 3)),
    "max_pool-overlapping": Case("max_pool", {"size": 3, "stride": 2, "padding": 1}, (6, 7, 2)),
    "max_pool-apart": Case("max_pool", {"size": 2, "stride": 3, "padding": 1}, (7, 6, 2)),
    "avg_pool": Case("avg_pool", {"size": 2}, (6, 5, 3)),
    "avg_pool-overlapping": Case("avg_pool", {"size": 3, "stride": 2, "padding": 1}, (6, 7, 2)),
    "global_avg_pool": Case("global_avg_pool", {}, (4, 3, 5)),
}


def cross_entropy(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(y, target, reduction="sum")


LOSSES: dict[str, LossCase] = {
    "softmax_cross_entropy": LossCase(
        "softmax_cross_entropy", (6,), cross_entropy, lambda random, rows: random.integers(0, 6, rows)
    ),
    "mean_squared_error": LossCase(
        "mean_squared_error",
        (2, 3),
        lambda y, target: functional.mse_loss(y, target, reduction="sum") / 6,
        lambda random, rows: normal(random, (rows, 2, 3)),
    ),
}


def normal(random: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal numbers that float32 holds, as float64."""
    return random.standard_normal(shape).astype(np.float32).astype(np.float64)


def draw_weights(random: np.random.Generator, shapes: dict[str, Shape]) -> Weights:
    """Around 1 for gains and variances, around 0 for the rest."""
    drawn = {path: 0.3 * random.standard_normal(shape) for path, shape in shapes.items()}
    for path in drawn:
        drawn[path] = (path.endswith(("gain", "variance")) + drawn[path]).astype(np.float32).astype(np.float64)
    return {path: torch.from_numpy(array).requires_grad_("running_" not in path) for path, array in drawn.items()}


def record_case(group: h5py.Group, case: Case, random: np.random.Generator) -> None:
    """x, dy, y, dx for each micro-batch; weights p, and their gradients g (the new values of running ones)."""
    kind = KINDS[case.kind]
    weights = draw_weights(random, kind.weights(case.table, case.shape))
    for path, weight in weights.items():
        group[f"p/{path}"] = weight.detach().numpy().astype(np.float32)
    for micro in range(case.micros):
        lead = (case.rows, *case.shape)
        drawn = random.integers(0, case.integers, lead) if case.integers else normal(random, lead)
        x = torch.from_numpy(drawn).requires_grad_(not case.integers)
        y = kind.forward(case.table, weights, x, case.training)
        group[f"x/{micro}"], group[f"y/{micro}"] = drawn.astype(np.float32), y.detach().numpy()
        if case.training:
            dy = normal(random, tuple(y.shape))
            (y * torch.from_numpy(dy)).sum().backward()
            group[f"dy/{micro}"] = dy.astype(np.float32)
            if x.grad is not None:
                group[f"dx/{micro}"] = x.grad.numpy()
    if case.training:
        for path, weight in weights.items():
            group[f"g/{path}"] = (weight if weight.grad is None else weight.grad).detach().numpy()


def record_loss(group: h5py.Group, case: LossCase, random: np.random.Generator) -> None:
    """y, target, the loss, and its gradient dy."""
    y = torch.from_numpy(normal(random, (case.rows, *case.shape))).requires_grad_()
    target = case.target(random, case.rows)
    loss = case.forward(y, torch.from_numpy(target))
    loss.backward()
    assert y.grad is not None
    group["y"], group["target"] = y.detach().numpy().astype(np.float32), target
    group["loss"], group["dy"] = loss.item(), y.grad.numpy()


def main() -> None:
    """Write layers.h5. Each case draws from a generator of its own, so a new one changes no other."""
    torch.set_num_threads(1)
    with h5py.File(OUT, "w", libver="latest") as file:
        versions = {"torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version()}
        file.attrs.update({**versions, "processor": platform.machine(), "date": datetime.date.today().isoformat()})
        for name, case in CASES.items():
            group = file.create_group(f"layers/{name}")
            group.attrs["table"] = str({"kind": case.kind, **case.table})
            group.attrs["training"] = case.training
            record_case(group, case, np.random.default_rng([SEED, *name.encode()]))
        for name, loss in LOSSES.items():
            group = file.create_group(f"losses/{name}")
            group.attrs["kind"], group.attrs["settings"] = loss.kind, str(loss.settings)
            record_loss(group, loss, np.random.default_rng([SEED, *name.encode()]))
    print(f"{OUT.name}: {len(CASES)} layers, {len(LOSSES)} losses, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
