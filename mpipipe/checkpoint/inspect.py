"""Looking into checkpoints without MPI: every data set with its statistics, and where two checkpoints differ."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpipipe.checkpoint.layout import Facts
from mpipipe.checkpoint.read import all_datasets, open_checkpoint
from mpipipe.layers import Array


@dataclass(frozen=True)
class Stats:
    """Over the finite elements of one array; `non_finite` counts the others. norm is the Euclidean one."""

    minimum: float
    mean: float
    maximum: float
    std: float
    norm: float
    non_finite: int


@dataclass(frozen=True)
class Entry:
    """One data set."""

    place: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    stats: Stats | None


@dataclass(frozen=True)
class Difference:
    """One place where two checkpoints differ, in words and, for arrays of one shape, in numbers."""

    place: str
    what: str
    elements: int = 0
    largest: float = 0.0


def describe(path: Path, with_stats: bool) -> tuple[Facts, list[Entry]]:
    """The attributes and all data sets of a checkpoint. Raises CheckpointError."""
    with open_checkpoint(path) as checkpoint:
        entries = [
            Entry(place, data.shape, str(data.dtype), data.nbytes, measure(data[...]) if with_stats else None)
            for place, data in all_datasets(checkpoint.file)
        ]
        return checkpoint.facts, entries


def kernel_of(facts: Facts) -> str:
    """What a checkpoint was computed with, such as `Haswell/X86_V3`; of older files the kernel that their job names."""
    written = json.loads(facts.versions).get("kernel")
    return str(written or tomllib.loads(facts.job).get("train", {}).get("kernel", "unknown"))


def kernels_of(*paths: Path) -> list[str]:
    """Of each checkpoint. Raises CheckpointError."""
    found = []
    for path in paths:
        with open_checkpoint(path) as checkpoint:
            found.append(kernel_of(checkpoint.facts))
    return found


def measure(array: Array) -> Stats:
    """Statistics in float64."""
    values = np.asarray(array, np.float64).reshape(-1)
    finite = values[np.isfinite(values)]
    lost = values.size - finite.size
    if not finite.size:
        return Stats(float("nan"), float("nan"), float("nan"), float("nan"), float("nan"), lost)
    norm = float(np.sqrt(np.sum(np.square(finite))))
    return Stats(float(finite.min()), float(finite.mean()), float(finite.max()), float(finite.std()), norm, lost)


def compare(path: Path, other: Path) -> list[Difference]:
    """Every bit in which two checkpoints' arrays or positions differ; job, plan and versions are not compared."""
    with open_checkpoint(path) as ours, open_checkpoint(other) as theirs:
        found = []
        for name in ("step", "epoch", "offset"):
            here, there = getattr(ours.facts.position, name), getattr(theirs.facts.position, name)
            if here != there:
                found.append(Difference(f"attribute {name}", f"{here} against {there}"))
        left, right = dict(all_datasets(ours.file)), dict(all_datasets(theirs.file))
        for place in sorted(left.keys() | right.keys()):
            if place not in left or place not in right:
                found.append(Difference(place, f"only in {path if place in left else other}"))
            else:
                found += _compare_arrays(place, left[place][...], right[place][...])
        return found


def _compare_arrays(place: str, here: Array, there: Array) -> Iterator[Difference]:
    if here.shape != there.shape or here.dtype != there.dtype:
        yield Difference(place, f"{here.dtype} {here.shape} against {there.dtype} {there.shape}")
        return
    bits = f"u{here.dtype.itemsize}"
    differs = np.atleast_1d(here).view(bits) != np.atleast_1d(there).view(bits)
    count = int(np.count_nonzero(differs))
    if count:
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(np.atleast_1d(here)[differs].astype(np.float64) - np.atleast_1d(there)[differs])
        largest = float(np.max(np.where(np.isnan(gap), np.inf, gap)))
        yield Difference(place, f"{count:,} of {here.size:,} elements differ", count, largest)
