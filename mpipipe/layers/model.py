"""The Model: layers built from a job's tables, with their names and shapes all along. And what each layer costs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mpipipe.errors import JobError, ShapeError, nearest
from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers.activations import Gelu, LeakyRelu, Relu, Sigmoid, Tanh
from mpipipe.layers.attention import Attention
from mpipipe.layers.blocks import Mlp, Transformer
from mpipipe.layers.dropout import Dropout
from mpipipe.layers.embedding import Embedding, Unembedding
from mpipipe.layers.flatten import Flatten
from mpipipe.layers.linear import Linear
from mpipipe.layers.losses import Loss, find_loss
from mpipipe.layers.norm import LayerNorm
from mpipipe.layers.optimizers import state_names
from mpipipe.layers.residual import Residual
from mpipipe.layers.swiglu import SwiGlu
from mpipipe.layers.trees import shape_leaves, total
from mpipipe.layers.types import Cost, Layer, Shape, Shapes, Work, size
from mpipipe.records import from_plain

MOST_REPEATS = 1000
KINDS: dict[str, Any] = {
    kind.kind: kind
    for kind in (
        *(Linear, Relu, LeakyRelu, Tanh, Sigmoid, Gelu, SwiGlu, Dropout, LayerNorm, Flatten, Residual),
        *(Embedding, Unembedding, Attention),
    )
}
"""Every layer by the name that a job calls it. A new layer is one file and one name here."""
SHORTHANDS: dict[str, Any] = {"mlp": Mlp, "transformer": Transformer}
"""Names that stand for layers made of other layers."""


@dataclass(frozen=True)
class Model:
    """Layers in order. `shapes[i]` is what layer i takes and `shapes[i + 1]` what it gives, for one sample."""

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    loss: Loss

    @property
    def tied(self) -> tuple[int, int] | None:
        """The embedding and the unembedding, whose weights are one; None where there is no such pair."""
        pair = [i for i, layer in enumerate(self.layers) if isinstance(layer, Unembedding)]
        return (0, pair[0]) if pair else None

    def drawn_as(self, layer: int) -> int:
        """The layer whose random numbers a layer's weights are drawn from: its own, or the embedding's for its copy."""
        return self.tied[0] if self.tied and layer == self.tied[1] else layer

    @property
    def targets(self) -> int:
        """How many targets a sample has."""
        return self.loss.targets(self.shapes[-1])

    @property
    def first_weights(self) -> int:
        """The index of the first layer with weights: no gradient is needed before it."""
        has = (i for i, layer in enumerate(self.layers) if layer.parameters(self.shapes[i]))
        return next(has, len(self.layers))


@dataclass(frozen=True)
class LayerCost:
    """One layer and one full micro-batch, as the planner sees it. Work is of the whole micro-batch; sizes in bytes.

    `saved` is kept from F to W (the output included), `held` from I to W (the gradient by the output included);
    `boundary` is the message to the next layer; `scratch` is what one worker thread needs for a moment.
    """

    name: str
    forward: Work
    grad_input: Work
    grad_weight: Work
    weight_bytes: int
    gradient_bytes: int
    state_bytes: int
    input_bytes: int
    boundary_bytes: int
    saved_bytes: int
    held_bytes: int
    scratch_bytes: int


def build_model(settings: ModelSettings, input_shape: Shape) -> Model:
    """The model that a job describes, for samples of `input_shape`. Raises JobError or ShapeError naming the layer."""
    layers = tuple(build_layers(settings.layers, "model.layers"))
    if not layers:
        raise JobError("model.layers", "empty", "at least one layer", "give [[model.layers]] tables or name a preset")
    names = tuple(f"{i:03d}_{layer.kind}" for i, layer in enumerate(layers))
    shapes = [input_shape]
    for name, layer in zip(names, layers, strict=True):
        try:
            shapes.append(layer.output_shape(shapes[-1]))
        except ShapeError as error:
            raise ShapeError(
                f"layer {name}, given shape {shapes[-1]}: {error.where}", error.found, error.needed, error.remedy
            ) from error
    loss = find_loss(settings.loss)
    loss.target_shape(shapes[-1])
    model = Model(_tied(layers, names, shapes), names, tuple(shapes), loss)
    if model.first_weights == len(layers):
        raise JobError("model.layers", "no layer has weights", "something to train, such as a linear layer")
    return model


def _tied(layers: tuple[Layer, ...], names: Sequence[str], shapes: Sequence[Shape]) -> tuple[Layer, ...]:
    """The layers, an unembedding drawn as the embedding is. Raises ShapeError where the two do not fit."""
    places = [i for i, layer in enumerate(layers) if isinstance(layer, Unembedding)]
    if not places:
        return layers
    first, last, where = layers[0], layers[places[-1]], f"layer {names[places[-1]]}"
    if not isinstance(first, Embedding) or len(places) > 1:
        found = f"{len(places)} unembeddings" if len(places) > 1 else f"the first layer is of kind {first.kind}"
        raise ShapeError(where, found, "one unembedding, and an embedding as the first layer", "or use a linear layer")
    assert isinstance(last, Unembedding)
    ours, theirs = (last.tokens, shapes[places[0]][-1]), (first.tokens, first.width)
    if ours != theirs:
        raise ShapeError(where, f"a weight of shape {ours}", f"the embedding's, {theirs}")
    return tuple(replace(last, deviation=first.deviation) if layer is last else layer for layer in layers)


def build_layers(tables: Any, where: str) -> Iterator[Layer]:
    """The layers of a list of tables; `repeat = N` stands for N alike. Raises JobError."""
    if not isinstance(tables, (list, tuple)):
        raise JobError(where, f"{tables!r}", "a list of tables, each with a kind")
    for index, table in enumerate(tables):
        at = f"{where}[{index}]"
        if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
            raise JobError(at, f"{table!r}", "a table with a kind", nearest("", KINDS))
        kind, repeat = table["kind"], table.get("repeat", 1)
        known = {**KINDS, **SHORTHANDS}
        if kind not in known:
            raise JobError(f"{at}.kind", f"unknown layer '{kind}'", remedy=nearest(kind, known))
        if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= MOST_REPEATS:
            raise JobError(f"{at}.repeat", f"{repeat!r}", f"a whole number from 1 to {MOST_REPEATS}")
        rest = {key: value for key, value in table.items() if key not in ("kind", "repeat")}
        yield from _build(known[kind], rest, at) * repeat


def _build(kind: Any, table: dict[str, Any], where: str) -> list[Layer]:
    if kind is Residual:
        inner = dict(table)
        layers = tuple(build_layers(inner.pop("layers", None), f"{where}.layers"))
        if inner:
            raise JobError(f"{where}.{next(iter(inner))}", "unknown key", remedy="known are kind, layers, repeat")
        if any(isinstance(one, Unembedding) for one in layers):
            raise JobError(f"{where}.layers", "an unembedding within a block", "it to be a layer of the model itself")
        return [Residual(layers)]
    layer: Any = from_plain(kind, table, where, JobError)
    return list(layer.layers(where)) if kind in SHORTHANDS.values() else [layer]


def layer_costs(model: Model, train: TrainSettings, item_bytes: int = 4) -> tuple[LayerCost, ...]:
    """What each layer costs for a full micro-batch, training with the job's optimizer."""
    costs = []
    for i, (layer, shape) in enumerate(zip(model.layers, model.shapes, strict=False)):
        cost = _sample_cost(model, i)
        weights = total(layer.parameters(shape)) * item_bytes
        twin = size(layer.parameters(shape)["weight"]) * item_bytes if i in (model.tied or ()) else 0
        rows = train.micro_batch
        per_micro = rows * item_bytes
        out = size(model.shapes[i + 1]) * per_micro
        loss_saved = _loss_bytes(model, item_bytes) * rows if i == len(model.layers) - 1 else 0
        costs.append(
            LayerCost(
                name=model.names[i],
                forward=_times(cost.forward, rows),
                grad_input=_times(cost.grad_input, rows) if i >= model.first_weights else Work(),
                grad_weight=_times(cost.grad_weight, rows),
                weight_bytes=weights,
                gradient_bytes=weights + twin,
                state_bytes=_state_bytes(layer.parameters(shape), train.optimizer) * item_bytes,
                input_bytes=size(shape) * per_micro,
                boundary_bytes=out,
                saved_bytes=out + total(layer.saved(shape)) * per_micro + loss_saved,
                held_bytes=out + total(layer.held(shape)) * per_micro,
                scratch_bytes=int(cost.scratch * per_micro) + _sum_bytes(layer.parameters(shape), item_bytes),
            )
        )
    return tuple(costs)


def forward_only(costs: Sequence[LayerCost]) -> tuple[LayerCost, ...]:
    """The same layers when only evaluating: no gradients, no state."""
    return tuple(
        replace(cost, grad_input=Work(), grad_weight=Work(), gradient_bytes=0, state_bytes=0, held_bytes=0)
        for cost in costs
    )


def _sample_cost(model: Model, i: int) -> Cost:
    cost = model.layers[i].cost(model.shapes[i])
    if i == model.first_weights and not model.layers[i].held(model.shapes[i]):
        # Nobody wants the gradient by this layer's input; inner layers of a block still need theirs.
        cost = replace(cost, grad_input=Work())
    if i == len(model.layers) - 1:
        cost = cost + model.loss.cost(model.shapes[-1])
    return cost


def _loss_bytes(model: Model, item_bytes: int) -> int:
    """Of one sample: its target, and what the loss saves."""
    out = model.shapes[-1]
    target = size(model.loss.target_shape(out)) * (8 if model.loss.labels else item_bytes)
    return target + total(model.loss.saved(out)) * item_bytes


def _times(work: Work, rows: int) -> Work:
    return Work(work.flops * rows, work.elements * rows)


def _state_bytes(shapes: Shapes, optimizer: str) -> int:
    return sum(math.prod(shape) * len(state_names(optimizer, path)) for path, shape in shape_leaves(shapes))


def _sum_bytes(shapes: Shapes, item_bytes: int) -> int:
    """Room for the sum of a bias, or of a weight's single row or column, which W adds by a temporary."""
    return max((max(shape, default=1) for _, shape in shape_leaves(shapes)), default=0) * item_bytes
