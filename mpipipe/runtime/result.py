"""What came of one batch, summed up from the ranks' reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpipipe.plan import Plan
from mpipipe.runtime.orders import Report


@dataclass(frozen=True)
class StepResult:
    """One batch, summed up: mean loss and accuracy over the targets that count, the gradients' global norm before
    clipping, seconds by rank 0's clock, busy fraction of each rank's workers, the bubble, the longest pause for a
    checkpoint; bytes of memory that each rank with stages (`Plan.lanes`) has taken at the most since they were made;
    the worker seconds of each rank for F, I and W."""

    loss: float
    accuracy: float
    norm: float
    seconds: float
    busy: tuple[tuple[int, float], ...]
    bubble: float
    pause_s: float
    peak_bytes: tuple[int, ...]
    compute_s: tuple[tuple[int, float], ...]


def sum_up(reports: Sequence[Report], plan: Plan, counted: int, norm: float, seconds: float) -> StepResult:
    """The result of a batch with `counted` targets that count. Reports are in the order of `plan.lanes`."""
    threads = [plan.stages[held[0]].threads for held in plan.placement]
    each = zip(plan.lanes, reports, threads, strict=True)
    last, of = last_report(reports, plan), max(1, counted)
    return StepResult(
        loss=last.loss / of,
        accuracy=last.right / of,
        norm=norm,
        seconds=seconds,
        busy=tuple(sorted((rank, min(1.0, report.busy_s / seconds / wide)) for rank, report, wide in each)),
        bubble=max(0.0, 1 - sum(report.busy_s for report in reports) / (sum(threads) * seconds)),
        pause_s=max(report.pause_s for report in reports),
        peak_bytes=tuple(report.peak_bytes for report in reports),
        compute_s=tuple((rank, report.compute_s) for rank, report in zip(plan.lanes, reports, strict=True)),
    )


def last_report(reports: Sequence[Report], plan: Plan) -> Report:
    """That of the rank with the last stage, which has the loss."""
    return reports[plan.lanes.index(plan.stages[-1].rank)]


def layer_squares(reports: Sequence[Report], plan: Plan) -> list[float]:
    """The sum of squared gradients of each layer, in the order of the layers."""
    left = {rank: iter(report.squares) for rank, report in zip(plan.lanes, reports, strict=True)}
    return [next(left[stage.rank]) for stage in plan.stages for _ in range(stage.first, stage.last)]
