"""From the times of the rounds to medians, ratios and ceilings. Pure functions; what --save writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from mpipipe.bench.ceiling import FLOPS
from mpipipe.bench.contest import Contestant
from mpipipe.bench.models import BenchModel


@dataclass(frozen=True)
class Score:
    """One contestant: seconds a step in each round and their median, losses of the first steps.

    `ratio` is its speed over that of the fastest PyTorch among those that compute in the model's own micro-batches, or
    among those that do not, as it does itself (`alike`); `of_ceiling` its speed over the fastest that the matrix
    products of a step could be done at, a pipeline's unavoidable bubble included; None with nothing to compare to.
    """

    name: str
    side: str
    stages: int
    steps: int
    round_s: tuple[float, ...]
    losses: tuple[float, ...]
    step_s: float
    samples_per_s: float
    ratio: float | None = None
    of_ceiling: float | None = None
    alike: bool = True


@dataclass(frozen=True)
class Result:
    """One model. `flops` are those of all matrix products of a step, `flops_per_s` the rate of all threads together."""

    model: str
    batch: int
    micro_batch: int
    flops: float
    flops_per_s: float
    cuts: tuple[int, ...]
    best_torch: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Machine:
    """Where it was measured, and with what."""

    cpu: str
    cores: int
    ranks: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """Everything that one run of `bench` measured."""

    machine: Machine
    results: tuple[Result, ...]


def sum_up(
    model: BenchModel, flops: float, ranks: int, cuts: Sequence[int], contestants: Sequence[Contestant]
) -> Result:
    """The result of a contest. Without a contestant of side `ceiling` or `torch`, nothing is compared with it."""
    train = model.job.train
    products = [one for one in contestants if one.entry.side == "ceiling"]
    rate = ranks * FLOPS / median(products[0].round_s) if products else 0.0
    scores = [_score(one, model, flops, rate) for one in contestants]
    alike, other = _best_torch(scores, True), _best_torch(scores, False)
    return Result(
        model=model.name,
        batch=train.batch,
        micro_batch=train.micro_batch,
        flops=flops,
        flops_per_s=rate,
        cuts=tuple(cuts),
        best_torch=alike.name if alike else "",
        scores=tuple(_compared(score, alike if score.alike else other) for score in scores),
    )


def _best_torch(scores: Sequence[Score], alike: bool) -> Score | None:
    rivals = [score for score in scores if score.side == "torch" and score.alike == alike]
    return min(rivals, key=lambda score: score.step_s) if rivals else None


def least_s(flops: float, rate: float, stages: int, micros: int) -> float:
    """Seconds of a step that consists of matrix products only, in a pipeline of equal stages (p - 1 of m + p - 1 turns
    are waited for; Narayanan et al. 2021, section 2.2)."""
    return flops / rate * (micros + stages - 1) / micros


def _score(one: Contestant, model: BenchModel, flops: float, rate: float) -> Score:
    least = least_s(flops, rate, one.entry.stages, model.micros) if rate else None
    # A step of the ceiling is a product of its own; what is told is the least time of a step of the model.
    step_s = least if one.entry.side == "ceiling" and least else median(one.round_s)
    return Score(
        name=one.entry.name,
        side=one.entry.side,
        stages=one.entry.stages,
        steps=one.steps,
        round_s=tuple(one.round_s),
        losses=tuple(one.losses),
        step_s=step_s,
        samples_per_s=model.job.train.batch / step_s,
        of_ceiling=least / step_s if least else None,
        alike=one.entry.alike,
    )


def _compared(score: Score, best: Score | None) -> Score:
    return replace(score, ratio=best.step_s / score.step_s) if best else score
