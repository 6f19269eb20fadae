"""Whether data fit a model: its inputs and targets against the first layer and the outputs. Checked before a run."""

from mpipipe.data import DataSet, check_labels, check_tokens
from mpipipe.errors import DataError
from mpipipe.job import ModelSettings
from mpipipe.layers import Model

EMBEDDING = "embedding"
"""The kind of the layer that takes numbers of tokens."""


def check_targets(data: DataSet, model: Model, where: str) -> None:
    """Raises DataError where targets do not fit the model's outputs."""
    outputs = model.shapes[-1]
    shape, labels = model.loss.target_shape(outputs), model.loss.labels
    if data.target_shape != (() if labels and shape == (1,) else shape):
        needed = f"shape {shape}, for the model's outputs have shape {outputs}" + (", a class each" if labels else "")
        raise DataError(where, f"targets of shape {data.target_shape}", needed)
    if data.vocabulary > outputs[-1]:
        found, remedy = _vocabulary(data), f"set outputs of the last layer to {data.vocabulary}"
        raise DataError(where, found, f"an output for each, but the model has {outputs[-1]}", remedy)
    if labels and not data.tokens:
        check_labels(data.train, outputs[-1], where, data.target_shape)
        check_labels(data.validation, outputs[-1], where, data.target_shape)


def check_inputs(data: DataSet, model: Model, where: str) -> None:
    """Raises DataError where the first layer is an embedding and a feature is not the number of one of its tokens."""
    name, tokens = embedding(model)
    if not tokens:
        return
    if data.vocabulary > tokens:
        remedy = f"set tokens of that layer to {data.vocabulary}"
        raise DataError(where, _vocabulary(data), f"a vector for each, but layer {name} has tokens = {tokens}", remedy)
    if not data.tokens:
        check_tokens(data.train, tokens, where, name)
        check_tokens(data.validation, tokens, where, name)


def embeds(settings: ModelSettings) -> bool:
    """Whether a job's first layer takes numbers of tokens."""
    return bool(settings.layers) and settings.layers[0].get("kind") == EMBEDDING


def embedding(model: Model) -> tuple[str, int]:
    """Name of the first layer and its number of tokens where it is an embedding, else 0."""
    first = model.layers[0]
    return model.names[0], int(getattr(first, "tokens", 0)) if first.kind == EMBEDDING else 0


def _vocabulary(data: DataSet) -> str:
    return f"a vocabulary of {data.vocabulary} {data.tokens}"
