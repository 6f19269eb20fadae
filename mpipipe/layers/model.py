"""The Model: layers built from a job's tables, with their names and shapes all along. And what each layer costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from mpipipe.errors import JobError, ShapeError
from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers.embedding import Embedding, Unembedding
from mpipipe.layers.extend import cache_shapes
from mpipipe.layers.kinds import build_layers
from mpipipe.layers.losses import Loss, find_loss
from mpipipe.layers.optimizers import state_names
from mpipipe.layers.trees import shape_leaves, total
from mpipipe.layers.types import Cost, Layer, Shape, Shapes, Work, size


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

    def wants_input_gradient(self, layer: int) -> bool:
        """Whether anyone wants the gradient by a layer's input: the layer before it, or an inner layer of its own."""
        first = self.first_weights
        return layer > first or (layer == first and bool(self.layers[layer].held(self.shapes[layer])))


@dataclass(frozen=True)
class LayerCost:
    """One layer and one full micro-batch, as the planner sees it. Work is of the whole micro-batch; sizes in bytes.

    `saved` is kept from F to W (the output included), `held` from I to W (the gradient by the output included);
    `boundary` is the message to the next layer; `scratch` is what one worker thread needs for a moment. `loss` is the
    part of the last layer's `saved` that is target and loss, which a stage that recomputes keeps too. Layers of one
    `signature` take the same time. W can be cut into `tiles`.
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
    signature: str = ""
    loss_bytes: int = 0
    tiles: int = 1


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
        loss = _loss_bytes(model, item_bytes) * rows if i == len(model.layers) - 1 else 0
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
                saved_bytes=out + total(layer.saved(shape)) * per_micro + loss,
                held_bytes=out + total(layer.held(shape)) * per_micro,
                scratch_bytes=int(cost.scratch * per_micro + cost.fixed * item_bytes)
                + _sum_bytes(layer.parameters(shape), item_bytes),
                signature=signature(model, i),
                loss_bytes=loss,
                tiles=len(layer.tiles(shape, train.tile_rows)),
            )
        )
    return tuple(costs)


def signature(model: Model, i: int) -> str:
    """What decides the time of a layer, as text: its settings other than the defaults, the shape of its input, the loss
    behind it if it is the last, and whether its input's gradient is wanted. Such as `linear(outputs=256) of 64`."""
    text = f"{_settings_text(model.layers[i])} of {'x'.join(map(str, model.shapes[i])) or 'one'}"
    if not model.wants_input_gradient(i):
        text += ", no gradient by its input"
    return f"{text}, {model.loss.kind}" if i == len(model.layers) - 1 else text


def _settings_text(layer: Layer) -> str:
    words = []
    for field in fields(layer):  # type: ignore[arg-type]
        value = getattr(layer, field.name)
        if value != field.default:
            inner = isinstance(value, tuple) and bool(value) and all(is_dataclass(item) for item in value)
            text = f"[{', '.join(map(_settings_text, value))}]" if inner else value
            words.append(f"{field.name}={text}")
    return f"{layer.kind}({', '.join(words)})"


def forward_only(costs: Sequence[LayerCost]) -> tuple[LayerCost, ...]:
    """The same layers when only evaluating: no gradients, no state."""
    return tuple(
        replace(cost, grad_input=Work(), grad_weight=Work(), gradient_bytes=0, state_bytes=0, held_bytes=0)
        for cost in costs
    )


def generating(model: Model, costs: Sequence[LayerCost], item_bytes: int = 4) -> tuple[LayerCost, ...]:
    """The costs of `forward_only` for one sequence that grows: a cache is the layer's state, and what F would save is
    scratch. Raises ShapeError for a layer that cannot extend."""
    return tuple(
        replace(
            cost,
            state_bytes=total(cache_shapes(layer, shape)) * item_bytes,
            scratch_bytes=cost.scratch_bytes + cost.saved_bytes,
        )
        for cost, layer, shape in zip(costs, model.layers, model.shapes, strict=False)
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
    return Work(work.flops * rows, work.elements * rows, work.seconds * rows)


def _state_bytes(shapes: Shapes, optimizer: str) -> int:
    return sum(math.prod(shape) * len(state_names(optimizer, path)) for path, shape in shape_leaves(shapes))


def _sum_bytes(shapes: Shapes, item_bytes: int) -> int:
    """Room for the sum of a bias, or of a weight's single row or column, which W adds by a temporary."""
    return max((max(shape, default=1) for _, shape in shape_leaves(shapes)), default=0) * item_bytes
