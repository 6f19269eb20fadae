"""Evaluating: loss and accuracy of a checkpoint on held-back samples, or on another data set, over any ranks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpipipe.data import DataSet, Part, check_finite, identify, open_data, other_data, were_trained_on
from mpipipe.errors import DataError
from mpipipe.fit import check_inputs, check_targets
from mpipipe.inference import Loaded, with_pipeline
from mpipipe.report import bits, bits_text, make_folder, of_errors, of_tokens, show, warn, write_json
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.world import World
from mpipipe.start import Request, Samples, stored_scaling, stored_target_scaling


@dataclass(frozen=True)
class Evaluation:
    """What came out; accuracy is None for a loss without labels, bits (a token) for data that are no text."""

    checkpoint: str
    data: str
    samples: int
    loss: float
    accuracy: float | None
    bits: float | None


def evaluate(world: World, request: Request) -> int:
    """The whole command, on every rank; the exit status."""
    data: DataSet | None = None

    def prepare(loaded: Loaded) -> None:
        nonlocal data
        data = _open(loaded, request)
        if request.out:
            make_folder(Path(request.out))

    def use(loaded: Loaded, conductor: Conductor) -> None:
        assert data is not None
        part = data.validation
        targets = stored_target_scaling(loaded.checkpoint)
        feed = Samples(data, stored_scaling(loaded.checkpoint), targets=targets).feed(part)
        loss, right, counted = conductor.evaluate(np.arange(part.count), feed)
        loss *= targets.squared_unit
        accuracy, mean = right / max(1, counted) if data.labels else None, loss / max(1, counted)
        path = str(loaded.checkpoint.path)
        _tell(Evaluation(path, data.source, part.count, mean, accuracy, bits(data, mean)), data, request)

    return with_pipeline(world, request, prepare, use)


def _open(loaded: Loaded, request: Request) -> DataSet:
    facts, job = loaded.checkpoint.facts.data, loaded.job
    labels, seed, all_rows = loaded.model.loss.labels, job.train.seed, request.data is not None
    try:
        data = open_data(
            job.data, labels, seed, all_rows, classes=facts.classes, columns=facts.columns, trained=facts.tokens
        )
    except DataError as error:
        if all_rows:
            raise
        hint = "the checkpoint names this data; another place is given by --data"
        remedy = f"{error.remedy}; {hint}" if error.remedy else hint
        raise DataError(error.where, error.found, error.needed, remedy) from error
    where = job.data.path
    for notice in _identity_notices(loaded, data, all_rows):
        warn(notice, request.quiet)
    for notice in data.validation.notices:
        warn(notice, request.quiet)
    if not data.validation.count:
        raise DataError(where, "no sample is held back", "a validation part", "name a set by --data")
    check_shape(data.validation, facts.input_shape, where)
    check_finite(data.validation, where)
    check_inputs(data, loaded.model, where)
    check_targets(data, loaded.model, where)
    return data


def _identity_notices(loaded: Loaded, data: DataSet, all_rows: bool) -> list[str]:
    """On data that are not, or that are, those that the model was trained on."""
    facts, path = loaded.checkpoint.facts.data, loaded.job.data.path
    known = facts.identity
    if not all_rows:
        return other_data(known, identify(data), path) if known.samples else []
    if not were_trained_on(known, data):
        return []
    how = "leave out --data" if path == facts.source else f"give --set data.path={path} instead of --data"
    advice = f"; to count only the {known.held_back:,} held back, {how}" if known.held_back else ""
    return [f"{path} is what the model was trained on: {known.train:,} of these samples were trained on{advice}"]


def check_shape(part: Part, shape: tuple[int, ...], where: str) -> None:
    """Raises DataError where samples have not the shape that the model was trained on."""
    if part.shape != shape:
        raise DataError(where, f"samples of shape {part.shape}", f"shape {shape}, as the model was trained on")


def _tell(result: Evaluation, data: DataSet, request: Request) -> None:
    samples = f"{result.samples:,} sample{'' if result.samples == 1 else 's'}{of_tokens(data)}"
    text = f"{samples} of {result.data}: loss {result.loss:.6g}{of_errors(data)}"
    text += "" if result.accuracy is None else f", accuracy {result.accuracy:.2%}"
    show(text + bits_text(data, result.bits))
    if request.out:
        write_json(Path(request.out) / "evaluation.json", result)
