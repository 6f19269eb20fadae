"""Records what PyTorch says of the layers of text models into text.h5, for test_text.py to compare with. Run once.

    python3 -m venv /tmp/record && /tmp/record/bin/pip install torch==2.13.0 numpy h5py
    /tmp/record/bin/python tests/golden/record_text.py

It needs no mpipipe. README.md beside this file says what text.h5 holds.
"""

import datetime
import json
import platform
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from text_torch import (
    Weights,
    attention,
    attention_shapes,
    embedding,
    mixing,
    mlp,
    mlp_shapes,
    norm,
    norm_shapes,
    swiglu,
)
from torch import Tensor, nn
from torch.nn import functional

OUT = Path(__file__).parent / "text.h5"
TOKENS, PLACES, WIDTH, ROWS, BATCH, STEPS, CLIP = 11, 6, 8, 13, 5, 3, 3.0
BATCHES = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12]]
# Without rotary, a bias of keys would shift all scores of a query alike: its gradient is 0 but for rounding, which Adam
# blows up to full steps. So it is the block with rotary that has biases.
JOB = f"""[model]
layers = [
    {{ kind = "embedding", tokens = {TOKENS}, width = {WIDTH} }},
    {{ kind = "transformer", width = {WIDTH}, heads = 2, hidden = 12, bias = false }},
    {{ kind = "transformer", width = {WIDTH}, heads = 4, key_value_heads = 2, rotary = true, hidden = 10, \
activation = "swiglu" }},
    {{ kind = "layernorm" }},
    {{ kind = "unembedding", tokens = {TOKENS} }},
]

[train]
steps = {STEPS}
batch = {BATCH}
micro_batch = 2
tile_rows = 5
optimizer = "adamw"
learning_rate = 0.01
weight_decay = 0.1
clip_norm = {CLIP}
"""

FORWARD: dict[str, Callable[[Weights, Tensor, dict[str, Any]], Tensor]] = {
    "embedding": lambda p, x, table: embedding(p, "", x),
    "attention": lambda p, x, table: attention(p, "", x, table),
    "swiglu": lambda p, x, table: swiglu(x),
    "mlp": lambda p, x, table: mlp(p, "", x, table),
}


def draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Numbers that float32 holds, by numpy, whose generator stays the same; gains are around 1."""
    random = np.random.default_rng(seed)
    return {
        path: (path.endswith("gain") + 0.4 * random.standard_normal(shape)).astype(np.float32).astype(np.float64)
        for path, shape in shapes.items()
    }


# ---- one layer alone --------------------------------------------------------------------------------------------

SAMPLES = [
    ("embedding", {"tokens": 5, "width": 3}, (6,), {"weight": (5, 3), "position": (6, 3)}),
    ("embedding", {"tokens": 9, "width": 2, "positions": False}, (4,), {"weight": (9, 2)}),
    ("embedding", {"tokens": 3, "width": 4, "context": 8}, (5,), {"weight": (3, 4), "position": (8, 4)}),
    *(
        ("attention", table, shape, attention_shapes("", shape[1], table))
        for table, shape in [
            ({"heads": 1}, (5, 4)),
            ({"heads": 3}, (4, 6)),
            ({"heads": 4, "key_value_heads": 2}, (7, 8)),
            ({"heads": 4, "key_value_heads": 1, "bias": False}, (4, 8)),
            ({"heads": 2, "rotary": True}, (6, 8)),
            ({"heads": 4, "key_value_heads": 2, "rotary": True}, (9, 16)),
            ({"heads": 2, "rotary": True}, (1, 4)),
        ]
    ),
    ("swiglu", {}, (6,), {}),
    ("swiglu", {}, (3, 4), {}),
    *(
        ("mlp", table, shape, mlp_shapes("", shape[-1], table))
        for table, shape in [
            ({"width": 4, "hidden": 7}, (4,)),
            ({"width": 4, "hidden": 6, "activation": "swiglu"}, (3, 4)),
            ({"width": 6, "hidden": 5, "activation": "swiglu", "bias": False}, (2, 6)),
        ]
    ),
]


def save_layer(file: h5py.File, number: int) -> None:
    """x, dy and weights; y, dx and the weights' gradients."""
    kind, table, shape, shapes = SAMPLES[number]
    random, initial = np.random.default_rng(100 + number), draw(shapes, number)
    whole = kind == "embedding"
    x_array = random.integers(0, table["tokens"], (4, *shape)) * 1.0 if whole else random.standard_normal((4, *shape))
    x = torch.tensor(x_array, requires_grad=not whole)
    p = {path: torch.tensor(array, requires_grad=True) for path, array in initial.items()}
    y = FORWARD[kind](p, x, table)
    dy = torch.tensor(random.standard_normal(y.shape))
    y.backward(dy)
    group = file.create_group(f"layers/{number:02d}_{kind}")
    group.attrs["table"] = json.dumps({"kind": kind, **table})
    group["x"], group["y"], group["dy"] = x_array, y.detach().numpy(), dy.numpy()
    group["dx"] = np.zeros_like(x_array) if whole else x.grad.numpy()
    for path, tensor in p.items():
        group[f"p/{path}"], group[f"g/{path}"] = initial[path], tensor.grad.numpy()


def save_loss(file: h5py.File) -> None:
    """The mean over targets that count, and its gradient."""
    random = np.random.default_rng(7)
    target = random.integers(0, 5, (4, 6))
    target[random.random((4, 6)) < 0.3] = -1
    y = torch.tensor(3 * random.standard_normal((4, 6, 5)), requires_grad=True)
    loss = functional.cross_entropy(y.reshape(-1, 5), torch.tensor(target).reshape(-1), ignore_index=-1)
    loss.backward()
    group = file.create_group("loss")
    group["y"], group["target"], group["loss"], group["dy"] = y.detach().numpy(), target, loss.item(), y.grad.numpy()


# ---- a whole model ----------------------------------------------------------------------------------------------


class Gpt(nn.Module):
    """Two transformers between an embedding and the same weight again."""

    def __init__(self, initial: dict[str, np.ndarray], dtype: torch.dtype) -> None:
        super().__init__()
        tables = tomllib.loads(JOB)["model"]["layers"]
        self.blocks = [table for table in tables if table["kind"] == "transformer"]
        self.paths = list(initial)
        self.all = nn.ParameterList([nn.Parameter(torch.tensor(array, dtype=dtype)) for array in initial.values()])

    def forward(self, x: Tensor) -> Tensor:
        """Tokens to logits."""
        p = dict(zip(self.paths, self.all, strict=True))
        y = embedding(p, "000_embedding/", x)
        for i, table in enumerate(self.blocks):
            y = mixing(p, f"{2 * i + 1:03d}_residual/", y, table)
            y = mlp(p, f"{2 * i + 2:03d}_residual/", y, table)
        return functional.linear(norm(p, "005_layernorm", y), p["000_embedding/weight"])


def gpt_shapes() -> dict[str, tuple[int, ...]]:
    """Of every weight but the unembedding's, which is the embedding's."""
    shapes: dict[str, tuple[int, ...]] = {
        "000_embedding/weight": (TOKENS, WIDTH),
        "000_embedding/position": (PLACES, WIDTH),
        **norm_shapes("005_layernorm", WIDTH),
    }
    for i, table in enumerate(tomllib.loads(JOB)["model"]["layers"][1:3]):
        shapes |= norm_shapes(f"{2 * i + 1:03d}_residual/0_layernorm", WIDTH)
        shapes |= attention_shapes(f"{2 * i + 1:03d}_residual/1_attention/", WIDTH, table)
        shapes |= mlp_shapes(f"{2 * i + 2:03d}_residual/", WIDTH, table)
    return shapes


def train(initial: dict[str, np.ndarray], x: np.ndarray, target: np.ndarray, dtype: torch.dtype) -> dict[str, Any]:
    """Whole batches at a time."""
    net = Gpt(initial, dtype)
    optimizer = torch.optim.AdamW(net.parameters(), 0.01, weight_decay=0.1)
    result: dict[str, Any] = {"losses": [], "norms": []}
    for rows in BATCHES:
        optimizer.zero_grad()
        logits = net(torch.tensor(x[rows]))
        wanted = torch.tensor(target[rows]).reshape(-1)
        loss = functional.cross_entropy(logits.reshape(-1, TOKENS), wanted, ignore_index=-1)
        loss.backward()
        result["losses"].append(loss.item())
        result["norms"].append(nn.utils.clip_grad_norm_(net.parameters(), CLIP).item())
        optimizer.step()
    return result | {"final": {path: w.detach().numpy() for path, w in zip(net.paths, net.all, strict=True)}}


def save_gpt(file: h5py.File) -> None:
    """In float32 and float64, from the same weights."""
    random, initial = np.random.default_rng(11), draw(gpt_shapes(), 12)
    x, target = random.integers(0, TOKENS, (ROWS, PLACES)), random.integers(0, TOKENS, (ROWS, PLACES))
    target[random.random((ROWS, PLACES)) < 0.25] = -1
    group = file.create_group("gpt")
    group.attrs["job"] = JOB
    group["x"], group["target"] = x, target
    group["batches"] = np.array([rows + [-1] * (BATCH - len(rows)) for rows in BATCHES])
    for path, array in initial.items():
        group[f"initial/{path}"] = array
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        result = train(initial, x, target, dtype)
        group[f"{name}/losses"], group[f"{name}/norms"] = result["losses"], result["norms"]
        for path, array in result["final"].items():
            group[f"{name}/final/{path}"] = array
        print(name, result["losses"], result["norms"])


def main() -> None:
    """Write text.h5."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with h5py.File(OUT, "w", libver="latest") as file:
        versions = {"torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version()}
        file.attrs.update({**versions, "processor": platform.machine(), "date": datetime.date.today().isoformat()})
        for number in range(len(SAMPLES)):
            save_layer(file, number)
        save_loss(file)
        save_gpt(file)
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
