"""The Plan: which rank holds which layers, in what order, with what memory and at what predicted speed. Plain data."""

from dataclasses import dataclass

from mpipipe.schedule import Placement


@dataclass(frozen=True)
class StagePlan:
    """One stage: layers `first` to `last - 1` on one rank, with its predictions for one full micro-batch.

    Times are seconds of one worker thread; with `recompute`, I does F once more, which `input_s` does not count.
    A message to the next stage, or one back, holds the wire for `wire_s` and arrives `latency_s` later. `bytes` is the
    peak memory foretold; `available_bytes` what the rank has for all its stages. W is reckoned as `weight_parts` tasks.
    Seconds are those of a thread with a core of its own, `sleeping` the part of them that needs none; all ranks of one
    `pool` have `cores` together, 0 where each thread has its own; those of a CPU quota are renewed
    after `period_s`. A rank that waits for messages looks for them every `look_s` at the latest.
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
    recompute: bool = False
    latency_s: float = 0.0
    wire_s: float = 0.0
    weight_parts: int = 1
    pool: str = ""
    cores: float = 0.0
    period_s: float = 0.0
    sleeping: float = 0.0
    look_s: float = 0.2e-3


@dataclass(frozen=True)
class Plan:
    """Stages in pipeline order; a rank may hold several. `notes` are sentences for the reader: idle ranks, choices.

    `step_s` is the predicted time of one full batch of `batch` samples in `micros` micro-batches; `bound_s` is proven
    to be no longer than that of any other plan for the same measurements, `straight_bound_s` than that of any with one
    stage a rank; 0 where nothing is known. Rank 0 loads the samples of a micro-batch in `load_s`.
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
    bound_s: float = 0.0
    straight_bound_s: float = 0.0
    load_s: float = 0.0

    @property
    def micros(self) -> int:
        """Micro-batches of a full batch, the last perhaps smaller."""
        return -(-self.batch // self.micro_batch)

    @property
    def lanes(self) -> tuple[int, ...]:
        """The ranks that hold stages, in the order of their first ones."""
        return tuple(dict.fromkeys(stage.rank for stage in self.stages))

    @property
    def placement(self) -> Placement:
        """The stages of each of these ranks, in pipeline order."""
        return tuple(self.stages_of(rank) for rank in self.lanes)

    def stages_of(self, rank: int) -> tuple[int, ...]:
        """The indices of the stages that `rank` holds."""
        return tuple(index for index, stage in enumerate(self.stages) if stage.rank == rank)

    def stage_of(self, rank: int) -> int | None:
        """The index of the stage that `rank` holds, or None where it is idle."""
        return next((index for index, stage in enumerate(self.stages) if stage.rank == rank), None)

    def rank_of(self, layer: int) -> int:
        """The rank that holds a layer."""
        return next(stage.rank for stage in self.stages if stage.first <= layer < stage.last)
