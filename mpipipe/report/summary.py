"""What came of a run, in one record: summary.json."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpipipe.report.units import human_bytes

STOPPED = ("finished", "interrupted", "stop_after")
MEASURABLE_BYTES = 1 << 20
"""Python itself takes and gives back about as much while a run goes on."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a rank was planned to take, and took at the most."""

    rank: int
    planned_bytes: int
    peak_bytes: int


def memory_text(memory: Sequence[Memory]) -> str:
    """One line: the rank that took the most of what was planned for it; what is too little to be measured is let go."""
    worst = max(memory, key=lambda one: one.peak_bytes / max(one.planned_bytes, MEASURABLE_BYTES))
    if max(worst.planned_bytes, worst.peak_bytes) < MEASURABLE_BYTES:
        return f"memory at the peak: less than {human_bytes(MEASURABLE_BYTES)} on every rank, as planned"
    taken, planned = human_bytes(worst.peak_bytes), human_bytes(worst.planned_bytes)
    share = f" ({worst.peak_bytes / worst.planned_bytes:.0%})" if worst.planned_bytes >= MEASURABLE_BYTES else ""
    return f"memory at the peak: {taken} of {planned} planned{share} on rank {worst.rank}, no more on any other"


@dataclass(frozen=True)
class Summary:
    """Totals and last values of a run; None where there is none.

    `steps`, `epochs` and `samples` count from the start of training, before any resume; `seconds` and `samples_per_s`
    are those of this run. Accuracies and the bubble are fractions. `checkpoint` is the newest one's name; `stopped`
    says why the run ended, one of STOPPED. `validation_bits` is the loss of a text in bits per character or byte;
    `memory` has an entry for each stage's rank.
    """

    job: str
    steps: int
    epochs: int
    samples: int
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    samples_per_s: float | None
    ranks: int
    stages: int
    schedule: str
    bubble: float | None
    checkpoint: str | None
    stopped: str
    validation_bits: float | None = None
    memory: tuple[Memory, ...] = ()
