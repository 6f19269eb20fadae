"""Whether data fit a model: its inputs and targets against the first layer and the outputs. Checked before a run."""

import math
from collections.abc import Iterator

from mpipipe.data import DataSet, check_labels, check_tokens, held_back, one_hot_classes
from mpipipe.errors import DataError, JobError, ShapeError
from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import Layer, Model, Residual, Shape, cache_shapes

EMBEDDING = "embedding"
"""The kind of the layer that takes numbers of tokens."""


def check_targets(data: DataSet, model: Model, where: str) -> None:
    """Raises DataError where targets do not fit the model's outputs."""
    outputs = model.shapes[-1]
    shape, labels = model.loss.target_shape(outputs), model.loss.labels
    if data.target_shape != (() if labels and shape == (1,) else shape):
        _check_one_hot(data, shape, where)
        needed = f"shape {shape}, for the outputs of the last layer, {model.names[-1]}, have shape {outputs}"
        remedy = 'a layer such as {kind = "flatten"} before the last one makes one output of many'
        every = ", a class each" if labels else ""
        raise DataError(
            where, f"targets of shape {data.target_shape}", needed + every, remedy if len(shape) > 1 else ""
        )
    if data.vocabulary > outputs[-1]:
        found, remedy = _vocabulary(data), f"set outputs of the last layer to {data.vocabulary}"
        raise DataError(where, found, f"an output for each, but the model has {outputs[-1]}", remedy)
    if labels and not data.tokens:
        check_labels(data.train, outputs[-1], where, data.target_shape)
        check_labels(data.validation, outputs[-1], held_back(where), data.target_shape)


def _check_one_hot(data: DataSet, shape: Shape, where: str) -> None:
    """Raises DataError where targets have an axis too many, which says for each class whether it is the one."""
    if data.labels and data.target_shape[:-1] == shape:
        classes = one_hot_classes(data.train, data.target_shape)
        if classes:
            found = (
                f"y of shape (samples, {', '.join(map(str, data.target_shape))}) looks one-hot, of {classes} classes"
            )
            remedy = "store y.argmax(axis=-1) in its place"
            raise DataError(where, found, f"a label from 0 to {classes - 1} for each", remedy)


def check_inputs(data: DataSet, model: Model, where: str) -> None:
    """Raises DataError where the first layer is an embedding and a feature is not the number of one of its tokens."""
    name, tokens = embedding(model)
    if not tokens and data.tokens:
        found = f"a text, but the first layer is {name}"
        raise DataError(where, found, "an embedding as the first layer, to take numbers of tokens")
    if not tokens:
        return
    if data.vocabulary > tokens:
        remedy = f"set tokens of that layer to {data.vocabulary}"
        raise DataError(where, _vocabulary(data), f"a vector for each, but layer {name} has tokens = {tokens}", remedy)
    if not data.tokens:
        check_tokens(data.train, tokens, where, name)
        check_tokens(data.validation, tokens, held_back(where), name)


def check_micro_batches(model: Model, train: TrainSettings, samples: int) -> list[str]:
    """Notices on what a job can hardly want. Raises JobError where a micro-batch has no statistics to normalise by."""
    alone = [name for name, places in _batchnorms(model) if places == 1]
    rest = {size % train.micro_batch for size in (train.batch, samples % train.batch)}
    notices = []
    if alone and train.micro_batch == 1:
        found = f"1, so that layer {alone[0]} has one value a channel to take statistics of"
        raise JobError("train.micro_batch", found, "2 or more", "groupnorm or layernorm need no company")
    if alone and 1 in rest:
        notices.append(
            f"the last micro-batch of some batches has one sample, and layer {alone[0]} then hardly any statistics; "
            "another train.batch or train.micro_batch would leave more"
        )
    return notices


def looks_ahead(model: Model, data: DataSet) -> list[str]:
    """A notice where a model of texts has a layer that lets places see later ones, which it shall foretell."""
    if not data.tokens:
        return []
    for name, layer, shape in zip(model.names, model.layers, model.shapes, strict=False):
        try:
            cache_shapes(layer, shape)
        except ShapeError:
            return [f"layer {name} mixes the places of a text: it sees what it shall foretell, and cannot generate"]
    return []


def _batchnorms(model: Model) -> Iterator[tuple[str, int]]:
    """Every batchnorm with the number of values that a sample has for each channel."""
    for name, layer, shape in zip(model.names, model.layers, model.shapes, strict=False):
        yield from _batchnorms_in(name, layer, shape)


def _batchnorms_in(name: str, layer: Layer, shape: Shape) -> Iterator[tuple[str, int]]:
    if isinstance(layer, Residual):
        for inner_name, inner, at in layer.inner(shape):
            yield from _batchnorms_in(f"{name}/{inner_name}", inner, at)
    elif layer.kind == "batchnorm":
        yield name, math.prod(shape[:-1])


def embeds(settings: ModelSettings) -> bool:
    """Whether a job's first layer takes numbers of tokens."""
    return bool(settings.layers) and settings.layers[0].get("kind") == EMBEDDING


def embedding(model: Model) -> tuple[str, int]:
    """Name of the first layer and its number of tokens where it is an embedding, else 0."""
    first = model.layers[0]
    return model.names[0], int(getattr(first, "tokens", 0)) if first.kind == EMBEDDING else 0


def _vocabulary(data: DataSet) -> str:
    return f"a vocabulary of {data.vocabulary} {data.tokens}"
