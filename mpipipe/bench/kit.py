"""What all contestants of a model are given, as files in a folder: the job, one batch of data, the initial weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpipipe.bench.models import BenchModel
from mpipipe.job import Job, job_from_text, job_to_text
from mpipipe.layers import Array, Key, Model, build_model, layer_costs, leaves, make_tree

JOB, DATA, WEIGHTS = "job.toml", "data.npz", "weights.npz"


@dataclass(frozen=True)
class Kit:
    """The job, samples x (batch, *shape) as float32, labels t (batch, ...) as int64."""

    job: Job
    x: Array
    t: Array


def write_kit(folder: Path, bench_model: BenchModel) -> None:
    """Draw data and weights, and write everything. The weights are those that mpipipe itself starts from."""
    job = bench_model.job
    model = build_model(job.model, bench_model.input_shape)
    rng, batch = np.random.default_rng(job.train.seed), job.train.batch
    shape = (batch, *bench_model.input_shape)
    tokens = bench_model.tokens
    x = rng.integers(0, tokens, shape) if tokens else rng.standard_normal(shape)
    t = rng.integers(0, bench_model.classes, (batch, *model.loss.target_shape(model.shapes[-1])))
    (folder / JOB).write_text(job_to_text(job), encoding="utf-8")
    np.savez(folder / DATA, x=x.astype(np.float32), t=t.astype(np.int64))
    np.savez(folder / WEIGHTS, **_draw(model, job.train.seed))


def read_kit(folder: Path) -> Kit:
    """Job and data, but not the weights."""
    job = job_from_text((folder / JOB).read_text(encoding="utf-8"), JOB)
    with np.load(folder / DATA) as data:
        return Kit(job, data["x"], data["t"])


def read_weights(folder: Path) -> dict[str, Array]:
    """Every initial weight by its place, such as `001_residual/1_linear/weight`."""
    with np.load(folder / WEIGHTS) as weights:
        return {place: weights[place] for place in weights.files}


def step_flops(bench_model: BenchModel) -> float:
    """Flops of all matrix products of one step: F, I and W of the whole batch."""
    train = bench_model.job.train
    costs = layer_costs(build_model(bench_model.job.model, bench_model.input_shape), train)
    micro = sum(cost.forward.flops + cost.grad_input.flops + cost.grad_weight.flops for cost in costs)
    return micro * train.batch / train.micro_batch


def _draw(model: Model, seed: int) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for i, (layer, name) in enumerate(zip(model.layers, model.names, strict=True)):
        tree = make_tree(layer.parameters(model.shapes[i]), np.float32)
        layer.initialise(tree, Key((seed, 0, i)))
        drawn |= {f"{name}/{path}": array for path, array in leaves(tree)}
    return drawn
