"""From the times of the rounds to medians, ratios and ceilings. Pure functions; what --save writes.

Contestants take turns, so what was measured in the same round was measured under about the same conditions. Therefore
a ratio is taken in each round, and the median of these ratios counts; medians of times are not divided.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from mpipipe.bench.ceiling import FLOPS
from mpipipe.bench.contest import Contestant
from mpipipe.bench.models import BenchModel
from mpipipe.bench.rounds import Failure
from mpipipe.bench.used import Used


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as another: the median of the ratios of all rounds, the least and the greatest of them."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """One contestant: seconds a step in each round and their median, losses of the first steps, what it used.

    `ratio` is its speed over that of the fastest PyTorch among those that compute in the model's own micro-batches, or
    among those that do not, as it does itself (`alike`); `of_ceiling` its speed over the fastest that the matrix
    products of a step could be done at, a pipeline's unavoidable bubble included; None with nothing to compare to.
    Seconds of the ceiling are those that the matrix products of a step of the model would take.
    """

    name: str
    side: str
    stages: int
    steps: int
    round_s: tuple[float, ...]
    losses: tuple[float, ...]
    step_s: float
    samples_per_s: float
    used: Used
    ratio: Ratio | None = None
    of_ceiling: float | None = None
    alike: bool = True


@dataclass(frozen=True, kw_only=True)
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
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Closing:
    """One model in one line; empty and None for what could not be measured.

    `mine` and `torch` name the fastest of each side that cut the batch as the model says, `ratio` is between them, and
    `of_ceiling` is that of `mine`. `freely` is between the fastest mpipipe of all and PyTorch's whole batch at once.
    """

    model: str
    mine: str
    torch: str
    mine_samples_per_s: float | None
    torch_samples_per_s: float | None
    ratio: Ratio | None
    freely: Ratio | None
    of_ceiling: float | None


@dataclass(frozen=True)
class Machine:
    """Where it was measured, how many ranks or threads each contestant was to have, and `isa` as it was asked for."""

    cpu: str
    cores: int
    ranks: int
    isa: str
    instructions: str


@dataclass(frozen=True)
class Bench:
    """Everything that one run of `bench` measured."""

    machine: Machine
    results: tuple[Result, ...]
    closing: tuple[Closing, ...] = ()


def sum_up(
    model: BenchModel,
    flops: float,
    ranks: int,
    cuts: Sequence[int],
    contestants: Sequence[Contestant],
    failures: Sequence[Failure] = (),
) -> Result:
    """The result of a contest. Without a contestant of side `ceiling` or `torch`, nothing is compared with it."""
    train = model.job.train
    products = [one.round_s for one in contestants if one.entry.side == "ceiling"]
    least_s = [flops / (ranks * FLOPS) * product_s for product_s in products[0]] if products else []
    scores = [_score(one, model, least_s) for one in contestants]
    alike, other = (fastest(scores, "torch", alike) for alike in (True, False))
    return Result(
        model=model.name,
        batch=train.batch,
        micro_batch=train.micro_batch,
        flops=flops,
        flops_per_s=flops / median(least_s) if least_s else 0.0,
        cuts=tuple(cuts),
        best_torch=alike.name if alike else "",
        scores=tuple(replace(score, ratio=ratio(score, alike if score.alike else other)) for score in scores),
        failures=tuple(failures),
    )


def fastest(scores: Sequence[Score], side: str, alike: bool | None) -> Score | None:
    """The one of a side with the least median; among those that cut the batch alike, or not, or (None) among all."""
    found = [score for score in scores if score.side == side and alike in (None, score.alike)]
    return min(found, key=lambda score: score.step_s, default=None)


def ratio(score: Score | None, rival: Score | None) -> Ratio | None:
    """How many times as fast as the rival, round by round; None without one of them."""
    if score is None or rival is None:
        return None
    pairs = [theirs / own for own, theirs in zip(score.round_s, rival.round_s, strict=True)]
    return Ratio(median(pairs), min(pairs), max(pairs))


def close(result: Result) -> Closing:
    """The line of a model in the closing table."""
    mine, torch = (fastest(result.scores, side, True) for side in ("mpipipe", "torch"))
    return Closing(
        model=result.model,
        mine=mine.name if mine else "",
        torch=torch.name if torch else "",
        mine_samples_per_s=mine.samples_per_s if mine else None,
        torch_samples_per_s=torch.samples_per_s if torch else None,
        ratio=ratio(mine, torch),
        freely=ratio(fastest(result.scores, "mpipipe", None), fastest(result.scores, "torch", False)),
        of_ceiling=mine.of_ceiling if mine else None,
    )


def bubble(stages: int, micros: int) -> float:
    """How many times as long a pipeline of equal stages takes as its work (p - 1 of m + p - 1 turns are waited for;
    Narayanan et al. 2021, section 2.2)."""
    return (micros + stages - 1) / micros


def _score(one: Contestant, model: BenchModel, least_s: Sequence[float]) -> Score:
    """`least_s`: seconds of the matrix products of a step in each round; empty where nobody measured them."""
    round_s = least_s if one.entry.side == "ceiling" else one.round_s
    waits = bubble(one.entry.stages, model.micros)
    shares = [least * waits / own for own, least in zip(round_s, least_s, strict=True)] if least_s else []
    return Score(
        name=one.entry.name,
        side=one.entry.side,
        stages=one.entry.stages,
        steps=one.steps,
        round_s=tuple(round_s),
        losses=tuple(one.losses),
        step_s=median(round_s),
        samples_per_s=model.job.train.batch / median(round_s),
        used=one.used,
        of_ceiling=median(shares) if shares else None,
        alike=one.entry.alike,
    )
