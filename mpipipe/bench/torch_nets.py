"""The models in PyTorch: one module for each layer of the job, with the weights that mpipipe starts from.

One of the three files that import torch. Images are (channels, height, width) here and (height, width, channels) in
mpipipe; weights are turned once, so that both compute the same function. Weights of embedding and attention are told
apart by their shapes.
"""

import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mpipipe.bench.kit import read_kit, read_weights
from mpipipe.bench.used import Used, printed_by, spoken_products, spoken_versions, with_kernel
from mpipipe.layers import Array
from mpipipe.records import to_plain

Arrays = Mapping[str, Array]
Table = Mapping[str, Any]


class Reshape(nn.Module):
    """Rows to images of `shape`, (height, width, channels)."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        """(n, pixels) to (n, channels, height, width)."""
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2).contiguous()


class Embedding(nn.Module):
    """A token's vector plus its place's."""

    def __init__(self, token: Any, position: Any) -> None:
        super().__init__()
        self.token, self.position = nn.Parameter(token), nn.Parameter(position)

    def forward(self, x: Any) -> Any:
        """(n, context) to (n, context, width)."""
        return functional.embedding(x, self.token) + self.position


class Attention(nn.Module):
    """Causal attention with `heads` heads, biases in both projections."""

    def __init__(self, inward: nn.Module, outward: nn.Module, heads: int) -> None:
        super().__init__()
        self.inward, self.outward, self.heads = inward, outward, heads

    def forward(self, x: Any) -> Any:
        """(n, context, width) to the same."""
        n, context, width = x.shape
        parts = self.inward(x).view(n, context, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.outward(mixed.transpose(1, 2).reshape(n, context, width))


class Contiguous(nn.Module):
    """x in the order of its axes, which gloo wants of what it sends; in PyTorch a convolution may choose another."""

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return x.contiguous()


class WithoutWeights(nn.Module):
    """x, as a function of one weight that it does not depend on: a stage needs one to have a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return x + 0.0 * self.weight


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return x + self.inner(x)


def read_all(folder: Path, first: int = 0, last: int | None = None) -> tuple[Any, Any, Any]:
    """The network (of layers `first` to `last` - 1 only), the samples and the labels of a kit."""
    kit = read_kit(folder)
    layers = network(kit.job.model.layers, read_weights(folder))
    x, t = torch.from_numpy(kit.x), torch.from_numpy(kit.t)
    whole_numbers = kit.job.model.layers[0]["kind"] == "embedding"
    return nn.Sequential(*layers[first:last]), x.long() if whole_numbers else x, t


def torch_facts(ranks: int = 1) -> dict[str, Any]:
    """What a process of PyTorch, one of so many, says of itself."""
    said = printed_by(_compute_aloud)
    used = Used(
        ranks=ranks,
        threads=torch.get_num_threads(),
        products=spoken_products(said),
        elementwise=with_kernel(f"ATen {torch.__version__}", torch.backends.cpu.get_cpu_capability()),
        versions={"torch": torch.__version__, "Python": platform.python_version(), **spoken_versions(said)},
    )
    return {"used": to_plain(used)}


def _compute_aloud() -> None:
    """A product and a convolution, with libraries that print which instructions they use."""
    with ExitStack() as stack:
        if torch.backends.mkl.is_available():
            stack.enter_context(torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON))
        if torch.backends.mkldnn.is_available():
            stack.enter_context(torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON))
        with torch.no_grad():
            functional.linear(torch.ones(64, 64), torch.ones(64, 64))
            functional.conv2d(torch.ones(8, 8, 16, 16), torch.ones(8, 8, 3, 3))


def loss_of(y: Any, t: Any) -> Any:
    """Mean cross-entropy over all targets."""
    return functional.cross_entropy(y.flatten(0, -2), t.flatten())


def optimizer_of(net: Any, folder: Path) -> Any:
    """SGD with the job's settings."""
    train = read_kit(folder).job.train
    return torch.optim.SGD(net.parameters(), lr=train.learning_rate, momentum=train.momentum)


def network(tables: Any, arrays: Arrays) -> list[Any]:
    """One module for each layer; `arrays` are all weights by their places."""
    modules: list[Any] = []
    channels = 0  # of images; 0 where there are none
    every = [table for table in tables for _ in range(table.get("repeat", 1))]
    for i, table in enumerate(every):
        kind, found = table["kind"], _inside(arrays, f"{i:03d}_{table['kind']}/")
        if kind == "linear" and channels:
            found["weight"], channels = _channels_first(found["weight"], channels), 0
        modules.append(MAKERS[kind](table, found))
        channels = table["channels"] if kind == "conv2d" else channels
    return modules


def _inside(arrays: Arrays, place: str) -> dict[str, Array]:
    return {path.removeprefix(place): array for path, array in arrays.items() if path.startswith(place)}


def _channels_first(weight: Array, channels: int) -> Array:
    """Rows of a weight after flatten, from (places, channels) order to (channels, places)."""
    return weight.reshape(-1, channels, weight.shape[-1]).swapaxes(0, 1).reshape(weight.shape)


def _tensor(array: Array) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array))


def _filled(module: Any, weight: Array, bias: Array | None) -> Any:
    with torch.no_grad():
        module.weight.copy_(_tensor(weight))
        if bias is not None:
            module.bias.copy_(_tensor(bias))
    return module


def _linear(table: Table, arrays: Arrays) -> Any:
    weight, bias = arrays["weight"], arrays.get("bias")
    return _filled(nn.Linear(*weight.shape, bias=bias is not None), weight.T, bias)


def _conv2d(table: Table, arrays: Arrays) -> Any:
    size, channels = table["size"], table["channels"]
    weight = arrays["weight"].reshape(size, size, -1, channels)
    module = nn.Conv2d(weight.shape[2], channels, size, padding=table.get("padding", 0))
    return _filled(module, weight.transpose(3, 2, 0, 1), arrays["bias"])


def _layernorm(table: Table, arrays: Arrays) -> Any:
    module = nn.LayerNorm(len(arrays["gain"]), eps=table.get("epsilon", 1e-5))
    return _filled(module, arrays["gain"], arrays["bias"])


def _embedding(table: Table, arrays: Arrays) -> Any:
    places = [array for array in arrays.values() if array.shape != (table["tokens"], table["width"])]
    tokens = [array for array in arrays.values() if array.shape == (table["tokens"], table["width"])]
    return Embedding(_tensor(tokens[0]), _tensor([*places, *tokens[1:]][0]))


def _attention(table: Table, arrays: Arrays) -> Any:
    by_shape = {array.shape: array for array in arrays.values()}
    width = max(shape[0] for shape in by_shape if len(shape) == 2)
    inward = {"weight": by_shape[width, 3 * width], "bias": by_shape[3 * width,]}
    outward = {"weight": by_shape[width, width], "bias": by_shape[width,]}
    return Attention(_linear({}, inward), _linear({}, outward), table["heads"])


def _residual(table: Table, arrays: Arrays) -> Any:
    inner = [MAKERS[inner["kind"]](inner, _inside(arrays, f"{i}_{inner['kind']}/")) for i, inner in _each(table)]
    return Residual(nn.Sequential(*inner))


def _each(table: Table) -> Any:
    return enumerate(inner for inner in table["layers"] for _ in range(inner.get("repeat", 1)))


MAKERS: dict[str, Callable[[Table, Arrays], Any]] = {
    "linear": _linear,
    "relu": lambda table, arrays: nn.ReLU(),
    "gelu": lambda table, arrays: nn.GELU(approximate="tanh"),
    "layernorm": _layernorm,
    "reshape": lambda table, arrays: Reshape(table["shape"]),
    "conv2d": _conv2d,
    "max_pool": lambda table, arrays: nn.MaxPool2d(table["size"]),
    "flatten": lambda table, arrays: nn.Flatten(),
    "embedding": _embedding,
    "attention": _attention,
    "residual": _residual,
}
