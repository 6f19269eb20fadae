"""One way to run a job, and what is short where it does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from mpipipe.errors import PlanError
from mpipipe.plan.predict import Limits, Totals, stage_bytes
from mpipipe.resources.cluster import Host

MEMORY = "plan"
"""Where an error is that is about memory."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the job, with its simulated step."""

    schedule: str
    stages: tuple[tuple[Host, int, int], ...]
    limits: tuple[Limits, ...]
    step_s: float
    bubble: float


def shortages(totals: Totals, candidate: Candidate) -> list[tuple[int, int, int]]:
    """(stage, bytes needed, bytes short) of every stage that does not fit."""
    short = []
    for s, ((host, first, last), limits) in enumerate(zip(candidate.stages, candidate.limits, strict=True)):
        needed = stage_bytes(totals, first, last, limits, host.threads)
        if needed > host.available_bytes:
            short.append((s, needed, needed - host.available_bytes))
    return short


def raise_short(totals: Totals, candidates: Sequence[Candidate], fits: int = 0) -> NoReturn:
    """Of the candidate that is short by the fewest bytes."""
    candidate = min(candidates, key=lambda one: sum(short for _, _, short in shortages(totals, one)))
    short_ones = shortages(totals, candidate)
    lines = []
    for s, needed, short in short_ones:
        host, first, last = candidate.stages[s]
        lines.append(
            f"host {host.name} (rank {host.rank}) is short by {short:,} bytes: layers {totals.costs[first].name} to "
            f"{totals.costs[last - 1].name} take {needed:,} bytes, {max(0, host.available_bytes):,} are available"
        )
    found = "; ".join(lines) or "the layers fit no order of the hosts"
    others = "a smaller train.micro_batch, more ranks, plan.schedule=1f1b, train.optimizer=sgd, or more memory"
    remedy = f"help: plan.ranks={fits} fits; or {others}" if fits else f"help: {others}"
    raise PlanError(MEMORY, found, "every stage within its host's memory", remedy)
