"""The Plan: which rank holds which layers, in what order, with what memory and at what predicted speed. Plain data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StagePlan:
    """One stage: layers `first` to `last - 1` on one rank, with its predictions for one full micro-batch.

    Times are seconds of one worker thread; `bytes` is the peak memory foretold; `available_bytes` what the rank has.
    """

    rank: int
    host: str
    first: int
    last: int
    threads: int
    in_flight: int
    gradients_in_flight: int
    forward_s: float
    input_s: float
    weight_s: float
    bytes: int
    available_bytes: int


@dataclass(frozen=True)
class Plan:
    """Stages in pipeline order. `notes` are sentences for the reader: idle ranks, faster choices.

    `step_s` is the predicted time of one full batch of `batch` samples in `micros` micro-batches.
    """

    layers: tuple[str, ...]
    ranks: int
    batch: int
    micro_batch: int
    schedule: str
    stages: tuple[StagePlan, ...]
    idle: tuple[int, ...]
    step_s: float
    bubble: float
    notes: tuple[str, ...] = ()

    @property
    def micros(self) -> int:
        """Micro-batches of a full batch, the last perhaps smaller."""
        return -(-self.batch // self.micro_batch)

    def stage_of(self, rank: int) -> int | None:
        """The index of the stage that `rank` holds, or None where it is idle."""
        return next((index for index, stage in enumerate(self.stages) if stage.rank == rank), None)

    def rank_of(self, layer: int) -> int:
        """The rank that holds a layer."""
        return next(stage.rank for stage in self.stages if stage.first <= layer < stage.last)
