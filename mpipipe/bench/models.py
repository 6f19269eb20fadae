"""The models of the benchmark, each defined here, as a job. Their twins in PyTorch are made from the same tables."""

from dataclasses import dataclass
from typing import Any

from mpipipe.errors import UserError, nearest
from mpipipe.job import DataSettings, Job, ModelSettings, PlanSettings, RunSettings, TrainSettings

WAIT_S = 4 * 3600.0
"""How long ranks wait for their turn before they give up."""
Table = dict[str, Any]


@dataclass(frozen=True)
class BenchModel:
    """A job, the shape of one sample, and the number of classes of its labels.

    Samples are normal numbers, or token numbers below `tokens` where that is above 0.
    """

    job: Job
    input_shape: tuple[int, ...]
    classes: int
    tokens: int = 0

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    @property
    def micros(self) -> int:
        """Micro-batches of a batch."""
        return -(-self.job.train.batch // self.job.train.micro_batch)


def bench_job(name: str, layers: list[Table], batch: int, micro_batch: int) -> Job:
    """A job with what all models share: SGD with momentum, and the planner's own choice of everything else.

    The batch is a multiple of the micro-batch, which PyTorch's pipelining wants.
    """
    train = TrainSettings(
        steps=1, batch=batch, micro_batch=micro_batch, optimizer="sgd", learning_rate=0.01, momentum=0.9
    )
    data = DataSettings(path="random", validation=0.0, scale="none")
    return Job(name, ModelSettings(tuple(layers)), data, train, PlanSettings(), RunSettings(stall_s=WAIT_S))


def mlp(name: str, inputs: int, width: int, depth: int, batch: int, micro_batch: int) -> BenchModel:
    """`depth` linear layers with relu between, 10 classes."""
    layers: list[Table] = [{"kind": "linear", "outputs": width}, {"kind": "relu"}] * (depth - 1)
    layers.append({"kind": "linear", "outputs": 10})
    return BenchModel(bench_job(name, layers, batch, micro_batch), (inputs,), 10)


def lenet() -> BenchModel:
    """Two convolutions with pooling, two linear layers (after LeCun et al. 1998), on images of (28, 28, 1)."""
    layers: list[Table] = [{"kind": "reshape", "shape": [28, 28, 1]}]
    for channels in (32, 64):
        layers.append({"kind": "conv2d", "channels": channels, "size": 5, "padding": 2})
        layers += [{"kind": "relu"}, {"kind": "max_pool", "size": 2}]
    layers += [{"kind": "flatten"}, {"kind": "linear", "outputs": 512}, {"kind": "relu"}]
    layers.append({"kind": "linear", "outputs": 10})
    return BenchModel(bench_job("lenet", layers, 512, 64), (784,), 10)


def gpt(name: str, width: int, blocks: int, heads: int, context: int, tokens: int) -> BenchModel:
    """A GPT (Radford et al. 2019): each block is two residual layers."""
    attention: list[Table] = [{"kind": "layernorm"}, {"kind": "attention", "heads": heads}]
    widening: list[Table] = [{"kind": "layernorm"}, {"kind": "linear", "outputs": 4 * width}]
    widening += [{"kind": "gelu"}, {"kind": "linear", "outputs": width}]
    layers: list[Table] = [{"kind": "embedding", "tokens": tokens, "width": width}]
    layers += [{"kind": "residual", "layers": attention}, {"kind": "residual", "layers": widening}] * blocks
    layers += [{"kind": "layernorm"}, {"kind": "linear", "outputs": tokens, "bias": False}]
    return BenchModel(bench_job(name, layers, 32, 4), (context,), tokens, tokens)


MODELS: dict[str, BenchModel] = {
    model.name: model
    for model in (
        mlp("mlp-2048x8", inputs=784, width=2048, depth=8, batch=512, micro_batch=64),
        mlp("mlp-512x8", inputs=784, width=512, depth=8, batch=512, micro_batch=64),
        lenet(),
        gpt("gpt-256x8", width=256, blocks=8, heads=8, context=128, tokens=256),
    )
}


def find_models(names: list[str]) -> list[BenchModel]:
    """The models of these names, each once; all of them where none is named. Raises UserError."""
    for name in names:
        if name not in MODELS:
            raise UserError("bench", f"unknown model '{name}'", remedy=nearest(name, MODELS))
    return [MODELS[name] for name in dict.fromkeys(names or MODELS)]
