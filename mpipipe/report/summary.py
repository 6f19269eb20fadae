"""What came of a run, in one record: summary.json."""

from dataclasses import dataclass

STOPPED = ("finished", "interrupted", "stop_after")


@dataclass(frozen=True)
class Summary:
    """Totals and last values of a run; None where there is none.

    `steps`, `epochs` and `samples` count from the start of training, before any resume; `seconds` and `samples_per_s`
    are those of this run. Accuracies and the bubble are fractions. `checkpoint` is the newest one's name; `stopped`
    says why the run ended, one of STOPPED. `validation_bits` is the loss of a text in bits per character or byte.
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
