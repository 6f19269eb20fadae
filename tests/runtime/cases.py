"""Runs to test with: a job, samples, and a plan made by hand. `cases` draws random ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mpipipe.job import Job, ModelSettings, RunSettings, TrainSettings
from mpipipe.layers import Array, Model, Shape, build_model
from mpipipe.layers.embedding import Embedding
from mpipipe.plan import Plan, StagePlan
from mpipipe.schedule import SCHEDULES


@dataclass(frozen=True)
class Case:
    """One run. `count` random samples; `slots` are the source's buffers; `part_flops` is what a W task is made of."""

    job: Job
    shape: Shape
    plan: Plan
    count: int
    slots: int
    part_flops: float

    @cached_property
    def model(self) -> Model:
        return build_model(self.job.model, self.shape)

    @cached_property
    def features(self) -> Array:
        random, shape, first = np.random.default_rng(7), (self.count, *self.shape), self.model.layers[0]
        if isinstance(first, Embedding):
            return random.integers(0, first.tokens, shape).astype(np.float32)
        return random.standard_normal(shape, np.float32)

    @cached_property
    def targets(self) -> Array:
        loss, outputs, random = self.model.loss, self.model.shapes[-1], np.random.default_rng(8)
        shape = (self.count, *loss.target_shape(outputs))
        if not loss.labels:
            return random.standard_normal(shape, np.float32)
        # One in five targets of a sequence is ignored.
        return random.integers(0, outputs[-1], shape) - (outputs[-1] * (random.random(shape) < 0.2) if shape[1:] else 0)

    def feed(self, rows: Array, x: Array, t: Array | None) -> None:
        """What the source reads from."""
        x[...] = self.features[rows]
        if t is not None:
            t[...] = self.targets[rows]


def make_case(
    layers: list[dict[str, Any]],
    shape: Shape,
    *,
    cuts: tuple[int, ...] = (),
    order: tuple[int, ...] | None = None,
    ranks: int = 0,
    schedule: str = "1f1b",
    in_flight: int | tuple[int, ...] = 2,
    gradients: int | tuple[int, ...] = 1,
    threads: int | tuple[int, ...] = 1,
    recompute: bool | tuple[bool, ...] = False,
    loss: str = "softmax_cross_entropy",
    count: int = 20,
    slots: int = 2,
    part_flops: float = 0.0,
    stall_s: float = 8.0,
    **train: Any,
) -> Case:
    """Stages cut before each layer of `cuts`, stage s on rank `order[s]`; numbers may differ for each stage.

    A rank that stands twice in `order` has as many threads as its first stage says.
    """
    settings = TrainSettings(**{"epochs": 1, "batch": 7, "micro_batch": 2, "learning_rate": 0.05, **train})
    job = Job("test", ModelSettings(tuple(layers), loss), train=settings, run=RunSettings(stall_s=stall_s))
    names = build_model(job.model, shape).names
    edges = [0, *cuts, len(names)]
    order = order or tuple(range(len(edges) - 1))
    wide = [_each(numbers, len(order)) for numbers in (threads, in_flight, gradients)]
    wide[0] = tuple(wide[0][order.index(rank)] for rank in order)
    again = _each(recompute, len(order))
    stages = tuple(
        StagePlan(
            rank, f"host{rank}", edges[s], edges[s + 1], *(numbers[s] for numbers in wide), 0, 0, 0, 0, 0, again[s]
        )
        for s, rank in enumerate(order)
    )
    ranks = ranks or max(order) + 1
    idle = tuple(sorted(set(range(ranks)) - set(order)))
    plan = Plan(names, ranks, settings.batch, settings.micro_batch, schedule, stages, idle, 0, 0)
    return Case(job, shape, plan, count, slots, part_flops)


def alone(case: Case) -> Case:
    """The same job on one rank with one thread, one micro-batch at a time."""
    job = case.job
    return make_case(
        list(job.model.layers), case.shape, in_flight=1, loss=job.model.loss, count=case.count, **vars(job.train)
    )


def linear(outputs: int, **more: Any) -> dict[str, Any]:
    return {"kind": "linear", "outputs": outputs, **more}


def block(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "residual", "layers": list(layers)}


DEEP = [
    {"kind": "layernorm"},
    linear(6),
    block(linear(5), {"kind": "gelu"}, block({"kind": "dropout", "rate": 0.3}, linear(5, bias=False)), linear(6)),
    {"kind": "tanh"},
    {"kind": "dropout", "rate": 0.2},
    linear(3),
]
"""Six layers with a bit of everything, for samples of shape (4,)."""


def _each(numbers: Any, stages: int) -> tuple[Any, ...]:
    return (numbers,) * stages if isinstance(numbers, int) else numbers


# ---- random ones ------------------------------------------------------------------------------------------------


def kept_shapes(features: int, depth: int = 2) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Layers (one or two) that keep the shape of samples whose last axis has `features`."""
    kinds = ("relu", "leaky_relu", "tanh", "sigmoid", "gelu", "layernorm")
    tables = [
        {"kind": "batchnorm"},
        *({"kind": kind} for kind in kinds),
        {"kind": "dropout", "rate": 0.4},
        linear(features, bias=False),
    ]
    single = st.sampled_from([[table] for table in tables])
    pair = st.sampled_from([[linear(wide), linear(features)] for wide in (1, 3, 6)])
    if not depth:
        return st.one_of(single, pair)
    inner = st.lists(kept_shapes(features, depth - 1), min_size=1, max_size=3)
    blocks = inner.map(lambda lists: [block(*(table for tables in lists for table in tables))])
    return st.one_of(single, pair, blocks)


@st.composite
def models(draw: st.DrawFn, shape: Shape, loss: str) -> list[dict[str, Any]]:
    """At most eight layers, one of them with weights."""
    layers: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.sampled_from(("linear", "flatten", "keep", "keep", "keep"))):
            case "linear":
                layers.append(linear(draw(st.integers(1, 6)), bias=draw(st.booleans())))
                shape = (*shape[:-1], layers[-1]["outputs"])
            case "flatten":
                layers.append({"kind": "flatten"})
                shape = (int(np.prod(shape)),)
            case _:
                layers += draw(kept_shapes(shape[-1]))
    needs_end = loss == "softmax_cross_entropy" or not any("outputs" in table for table in layers)
    return [*layers[:7], linear(draw(st.integers(2, 4)))] if needs_end else layers


def fitting(order: tuple[int, ...]) -> list[str]:
    """Schedules for stages on these ranks."""
    ranks = tuple(dict.fromkeys(order))
    placement = tuple(tuple(s for s, rank in enumerate(order) if rank == mine) for mine in ranks)
    placed = [name for name, recipe in SCHEDULES.items() if recipe.place(len(ranks), len(order)) == placement]
    chunks = max(map(len, placement))
    return [name for name in placed if chunks <= SCHEDULES[name].most_chunks]


@st.composite
def places(draw: st.DrawFn, layers: int, most_ranks: int) -> dict[str, Any]:
    """Cuts, and which rank holds which stage with what room: one each, or some ranks several; some perhaps idle.

    Where several, in turns as schedules have them, or anyhow.
    """
    apart = draw(st.booleans())
    most = min(most_ranks, layers) if apart else min(most_ranks + 2, layers)
    stages = draw(st.integers(1 if apart else min(3, most), most))
    ranks = draw(st.integers(stages, max(stages, most_ranks)) if apart else st.integers(1, 3))
    anyhow = st.lists(st.integers(0, ranks - 1), min_size=stages, max_size=stages)
    turns = st.permutations(range(ranks)).flatmap(
        lambda one: st.sampled_from([one * stages, (one + one[::-1]) * stages])
    )
    order = tuple(draw(turns if apart else turns | anyhow)[:stages])
    schedules = ["shuffled", *fitting(order)]
    numbers = {
        name: tuple(draw(st.lists(values, min_size=stages, max_size=stages)))
        for name, values in (
            ("in_flight", st.integers(1, 5)),
            ("gradients", st.integers(1, 4)),
            ("threads", st.integers(1, 3)),
            ("recompute", st.booleans()),
        )
    }
    cuts = tuple(sorted(draw(st.permutations(range(1, layers)))[: stages - 1]))
    return {"cuts": cuts, "order": order, "ranks": ranks, "schedule": draw(st.sampled_from(schedules)), **numbers}


@st.composite
def cases(draw: st.DrawFn, most_ranks: int = 4) -> Case:
    """Anything that a job and a planner may come up with, on up to `most_ranks` ranks, some perhaps idle."""
    shape = draw(st.sampled_from([(4,), (3, 4), (2, 2, 3)]))
    loss = draw(st.sampled_from(["softmax_cross_entropy", "mean_squared_error"]))
    layers = draw(models(shape, loss))
    batch = draw(st.integers(1, 9))
    return make_case(
        layers,
        shape,
        **draw(places(len(layers), most_ranks)),
        loss=loss,
        count=draw(st.integers(1, 14)),
        slots=draw(st.integers(1, 4)),
        part_flops=draw(st.sampled_from([0.0, 500.0, 8e6])),
        batch=batch,
        micro_batch=draw(st.integers(1, batch)),
        tile_rows=draw(st.sampled_from([1, 2, 480])),
        optimizer=draw(st.sampled_from(["sgd", "adam", "adamw"])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        clip_norm=draw(st.sampled_from([0.0, 0.05, 1e3])),
        seed=draw(st.integers(0, 2**40)),
    )
