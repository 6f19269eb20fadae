"""Predicting: a class with its probability, or the outputs, for every row of an input file, as CSV."""

import contextlib
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from mpipipe.data import Part, Scaling, check_finite, check_tokens, open_inputs
from mpipipe.fit import embedding
from mpipipe.inference import Loaded, with_pipeline
from mpipipe.layers import Array
from mpipipe.report import make_folder, replacing, show, standard_output, warn
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.world import World
from mpipipe.start import Request, stored_scaling, stored_target_scaling


def predict(world: World, request: Request, source: str) -> int:
    """The whole command, on every rank; the exit status. `--out DIR` writes DIR/predictions.csv."""
    part: Part | None = None
    if not request.out:
        request = replace(request, quiet=True)  # standard output is the predictions' alone

    def prepare(loaded: Loaded) -> None:
        nonlocal part
        facts = loaded.checkpoint.facts.data
        part = open_inputs(source, facts.input_shape, facts.columns, loaded.job.data.target)
        for notice in part.notices:
            warn(notice, request.quiet)
        check_finite(part, source)
        layer, tokens = embedding(loaded.model)
        if tokens:
            check_tokens(part, tokens, source, layer)
        if request.out:
            make_folder(Path(request.out))

    def use(loaded: Loaded, conductor: Conductor) -> None:
        assert part is not None
        with _destination(request) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_header(loaded))
            batch, scaling = loaded.job.train.batch, stored_scaling(loaded.checkpoint)
            for start in range(0, part.count, batch):
                rows = np.arange(start, min(start + batch, part.count))
                outputs = conductor.predict(rows, lambda r, x, t: scaling.fill(part.fill, r, x))
                writer.writerows(_lines(loaded, start, outputs))
        if request.out:
            show(f"{part.count:,} predictions are in {Path(request.out) / 'predictions.csv'}", request.quiet)

    return with_pipeline(world, request, prepare, use)


@contextlib.contextmanager
def _destination(request: Request) -> Iterator[TextIO]:
    if not request.out:
        with standard_output() as file:
            yield file
        return
    with replacing(Path(request.out) / "predictions.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        yield file


def _header(loaded: Loaded) -> list[str]:
    if loaded.model.loss.labels:
        return ["row", *(["position"] if _is_sequence(loaded) else []), "class", "probability"]
    return ["row", *(f"output_{i}" for i in range(int(np.prod(loaded.model.shapes[-1]))))]


def _lines(loaded: Loaded, start: int, outputs: Array) -> Iterator[Sequence[object]]:
    if not loaded.model.loss.labels:
        scaling = stored_target_scaling(loaded.checkpoint)
        digits = _digits(scaling)
        for i, values in enumerate(scaling.restore(outputs).reshape(len(outputs), -1)):
            yield [start + i, *(f"{value:.{digits}g}" for value in values)]
        return
    classes = loaded.checkpoint.facts.data.classes
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=-1, keepdims=True))
    chosen = outputs.argmax(axis=-1).reshape(len(outputs), -1)
    chance = (shifted.max(axis=-1) / shifted.sum(axis=-1)).reshape(len(outputs), -1)
    for i, (labels, shares) in enumerate(zip(chosen.tolist(), chance.tolist(), strict=True)):
        for position, (label, share) in enumerate(zip(labels, shares, strict=True)):
            place = [start + i, position] if _is_sequence(loaded) else [start + i]
            yield [*place, classes[label] if label < len(classes) else label, f"{share:.4f}"]


def _digits(scaling: Scaling) -> int:
    """How many digits show all seven of a float32 after scaling back: more where the values lie far from zero."""
    return min(17, 7 + math.ceil(math.log10(max(1.0, float(np.max(np.abs(scaling.shift)) * scaling.factor)))))


def _is_sequence(loaded: Loaded) -> bool:
    """Whether there is a class at every position of a sample, instead of one a sample."""
    return len(loaded.model.shapes[-1]) > 1
