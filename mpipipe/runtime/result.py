"""What came of one batch, summed up from the ranks' reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpipipe.plan import StagePlan
from mpipipe.runtime.orders import Report


@dataclass(frozen=True)
class StepResult:
    """One batch, summed up: mean loss and accuracy over the targets that count, the gradients' global norm before
    clipping, seconds by rank 0's clock, busy fraction of each rank's workers, the bubble, the longest pause for a
    checkpoint; bytes of memory that each stage's rank has taken at the most since it was made."""

    loss: float
    accuracy: float
    norm: float
    seconds: float
    busy: tuple[tuple[int, float], ...]
    bubble: float
    pause_s: float
    peak_bytes: tuple[int, ...]


def sum_up(
    reports: Sequence[Report], stages: Sequence[StagePlan], counted: int, norm: float, seconds: float
) -> StepResult:
    """The result of a batch with `counted` targets that count. Reports are in the order of the stages."""
    pairs = list(zip(reports, stages, strict=True))
    busy = tuple((stage.rank, min(1.0, report.busy_s / seconds / stage.threads)) for report, stage in pairs)
    threads = sum(stage.threads for stage in stages)
    loss, right, of = reports[-1].loss, reports[-1].right, max(1, counted)
    return StepResult(
        loss=loss / of,
        accuracy=right / of,
        norm=norm,
        seconds=seconds,
        busy=tuple(sorted(busy)),
        bubble=max(0.0, 1 - sum(report.busy_s for report in reports) / (threads * seconds)),
        pause_s=max(report.pause_s for report in reports),
        peak_bytes=tuple(report.peak_bytes for report in reports),
    )
