"""Records training runs of PyTorch into golden.h5, for test_golden.py to compare with. Run once; it needs no mpipipe.

    python3 -m venv /tmp/record && /tmp/record/bin/pip install torch==2.13.0 numpy h5py
    /tmp/record/bin/python tests/golden/record.py

A CPU build of PyTorch is enough. README.md beside this file says what golden.h5 holds.
"""

import datetime
import platform
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

OUT = Path(__file__).parent / "golden.h5"
STEPS, BATCH, ROWS, FEATURES, CLASSES, VALUES = 20, 24, 66, 12, 5, 3
SEED = 20

JOB = """[model]
loss = "{loss}"
layers = [
    {{ kind = "linear", outputs = 16 }},
    {{ kind = "residual", layers = [
        {{ kind = "layernorm" }},
        {{ kind = "linear", outputs = 24 }},
        {{ kind = "gelu" }},
        {{ kind = "linear", outputs = 16 }},
    ] }},
    {{ kind = "relu" }},
    {{ kind = "linear", outputs = 16, bias = false }},
    {{ kind = "tanh" }},
    {{ kind = "residual", layers = [
        {{ kind = "linear", outputs = 16 }},
        {{ kind = "sigmoid" }},
        {{ kind = "residual", layers = [
            {{ kind = "linear", outputs = 16 }},
            {{ kind = "leaky_relu", slope = 0.1 }},
        ] }},
    ] }},
    {{ kind = "leaky_relu" }},
    {{ kind = "layernorm" }},
    {{ kind = "linear", outputs = {outputs} }},
]

[train]
steps = {steps}
batch = {batch}
micro_batch = 7
tile_rows = 5
optimizer = "{optimizer}"
learning_rate = {rate}
momentum = 0.9
weight_decay = {decay}
rate_schedule = "cosine"
warmup_steps = 4
rate_floor = 0.0005
clip_norm = {clip}
"""

OPTIMIZERS = {"sgd": (0.05, 0.01), "adam": (0.005, 0.01), "adamw": (0.005, 0.1)}
"""Learning rate and weight decay."""
LOSSES = {"softmax_cross_entropy": (CLASSES, "labels"), "mean_squared_error": (VALUES, "values")}
"""Outputs, and the targets' name."""
CLIP = 1.2
"""Some steps' gradients are above it and some below."""
CROSS, SQUARES = LOSSES
RUNS = [
    *((CROSS, optimizer, clip) for optimizer in OPTIMIZERS for clip in (0.0, CLIP)),
    (SQUARES, "adamw", CLIP),
    (SQUARES, "sgd", 0.0),
]


def jobs() -> dict[str, str]:
    """The TOML text of every run."""
    texts = {}
    for loss, optimizer, clip in RUNS:
        rate, decay = OPTIMIZERS[optimizer]
        keys = {"loss": loss, "outputs": LOSSES[loss][0], "optimizer": optimizer, "rate": rate, "decay": decay}
        name = f"{loss}-{optimizer}-{'clipped' if clip else 'free'}"
        texts[name] = JOB.format(steps=STEPS, batch=BATCH, clip=clip, **keys)
    return texts


class Residual(nn.Module):
    """y = x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through the inner layers, then add x."""
        return x + self.inner(x)


WEIGHTLESS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build(tables: list[dict[str, Any]], features: int, paths: list[tuple[str, nn.Parameter]], at: str) -> nn.Sequential:
    """PyTorch's modules for a job's tables; `paths` gets every weight with the name that mpipipe gives it."""
    modules = []
    for i, table in enumerate(tables):
        kind = table["kind"]
        path = f"{at}/{i}_{kind}" if at else f"{i:03d}_{kind}"
        if kind == "linear":
            module = nn.Linear(features, table["outputs"], bias=table.get("bias", True))
            features = table["outputs"]
            paths.append((f"{path}/weight", module.weight))
            paths += [(f"{path}/bias", module.bias)] if module.bias is not None else []
        elif kind == "layernorm":
            module = nn.LayerNorm(features)
            paths += [(f"{path}/gain", module.weight), (f"{path}/bias", module.bias)]
        elif kind == "residual":
            module = Residual(build(table["layers"], features, paths, path))
        elif kind == "gelu":
            module = nn.GELU(approximate="tanh")
        elif kind == "leaky_relu":
            module = nn.LeakyReLU(table.get("slope", 0.01))
        else:
            module = WEIGHTLESS[kind]()
        modules.append(module)
    return nn.Sequential(*modules)


def swap(array: np.ndarray) -> np.ndarray:
    """PyTorch keeps a linear weight as (outputs, inputs), mpipipe as (inputs, outputs)."""
    return np.ascontiguousarray(array.T)


def start(paths: list[tuple[str, nn.Parameter]]) -> dict[str, np.ndarray]:
    """Fill the weights from numpy's generator, so that no version of PyTorch draws them; biases and gains vary too."""
    random, initial = np.random.default_rng(SEED), {}
    for path, weight in paths:
        if path.endswith("weight"):
            drawn = random.standard_normal(weight.shape) * np.sqrt(1 / weight.shape[1])
        else:
            drawn = path.endswith("gain") + 0.1 * random.standard_normal(weight.shape)
        drawn = drawn.astype(np.float32)
        with torch.no_grad():
            weight.copy_(torch.from_numpy(drawn))
        initial[path] = swap(drawn)
    return initial


def make_optimizer(train: dict[str, Any], net: nn.Module) -> torch.optim.Optimizer:
    """The job's optimizer, with PyTorch's own defaults for what the job does not say."""
    rate, decay = train["learning_rate"], train["weight_decay"]
    if train["optimizer"] == "sgd":
        return torch.optim.SGD(net.parameters(), rate, momentum=train["momentum"], weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train["optimizer"]]
    return kind(net.parameters(), rate, weight_decay=decay)


def make_schedule(train: dict[str, Any], optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """A linear warm-up to the full rate, then half a cosine to the floor."""
    rates, warm = torch.optim.lr_scheduler, train["warmup_steps"]
    rising = rates.LinearLR(optimizer, start_factor=1 / warm, end_factor=1.0, total_iters=warm - 1)
    falling = rates.CosineAnnealingLR(optimizer, T_max=train["steps"] - warm, eta_min=train["rate_floor"])
    return rates.SequentialLR(optimizer, [rising, falling], milestones=[warm])


def run(text: str, data: dict[str, np.ndarray], batches: list[np.ndarray], dtype: torch.dtype) -> dict[str, Any]:
    """Train as the job says, whole batches at a time."""
    job = tomllib.loads(text)
    train, (_, target) = job["train"], LOSSES[job["model"]["loss"]]
    paths: list[tuple[str, nn.Parameter]] = []
    net = build(job["model"]["layers"], FEATURES, paths, "")
    initial = start(paths)
    net.to(dtype)
    measure = nn.CrossEntropyLoss() if target == "labels" else nn.MSELoss()
    optimizer = make_optimizer(train, net)
    schedule = make_schedule(train, optimizer)
    result: dict[str, Any] = {"losses": [], "norms": [], "rates": [], "initial": initial}
    for rows in batches:
        x, wanted = torch.from_numpy(data["x"][rows]).to(dtype), torch.from_numpy(data[target][rows])
        optimizer.zero_grad()
        loss = measure(net(x), wanted if target == "labels" else wanted.to(dtype))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), train["clip_norm"] or float("inf"))
        result["losses"].append(loss.item())
        result["norms"].append(norm.item())
        result["rates"].append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    result["final"] = {path: swap(weight.detach().numpy()) for path, weight in paths}
    return result


def make_data() -> dict[str, np.ndarray]:
    """Three clouds for each class, and smooth values of the features."""
    random = np.random.default_rng(SEED + 1)
    labels = random.integers(0, CLASSES, ROWS)
    x = random.standard_normal((ROWS, FEATURES)) + 1.5 * random.standard_normal((CLASSES, FEATURES))[labels]
    values = np.tanh(x @ random.standard_normal((FEATURES, VALUES)) / 4)
    return {"x": x.astype(np.float32), "labels": labels, "values": values.astype(np.float32)}


def make_batches() -> list[np.ndarray]:
    """Rows in the data's order, epoch by epoch; the last batch of an epoch is smaller."""
    epoch = [np.arange(first, min(first + BATCH, ROWS)) for first in range(0, ROWS, BATCH)]
    return [epoch[step % len(epoch)] for step in range(STEPS)]


def save_run(file: h5py.File, name: str, text: str, data: dict[str, np.ndarray], batches: list[np.ndarray]) -> None:
    """One run, in float32 and in float64; the initial weights are shared by the runs of a loss."""
    result, exact = (run(text, data, batches, dtype) for dtype in (torch.float32, torch.float64))
    loss = tomllib.loads(text)["model"]["loss"]
    if f"initial/{loss}" not in file:
        for path, array in result["initial"].items():
            file[f"initial/{loss}/{path}"] = array
    group = file.create_group(f"runs/{name}")
    group.attrs["job"], group.attrs["target"] = text, LOSSES[loss][1]
    group["initial"] = file[f"initial/{loss}"]
    for key in ("losses", "norms", "rates"):
        group[key] = np.array(result[key])
    group["losses_float64"], group["norms_float64"] = np.array(exact["losses"]), np.array(exact["norms"])
    for path, array in result["final"].items():
        group[f"final/{path}"] = array
    above = sum(norm > CLIP for norm in result["norms"])
    print(f"{name:38} loss {result['losses'][0]:.4f} to {result['losses'][-1]:.4f}; {above} norms above {CLIP}")


def main() -> None:
    """Write golden.h5."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data, batches = make_data(), make_batches()
    padded = np.full((STEPS, BATCH), -1, np.int16)
    for step, rows in enumerate(batches):
        padded[step, : len(rows)] = rows
    with h5py.File(OUT, "w", libver="latest") as file:
        versions = {"torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version()}
        file.attrs.update({**versions, "processor": platform.machine(), "date": datetime.date.today().isoformat()})
        file["batches"] = padded
        for name, array in data.items():
            file[f"data/{name}"] = array
        for name, text in jobs().items():
            save_run(file, name, text, data, batches)
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
