"""The planner's problem as numbers: what every layer takes on every host, what fits, what messages take.

H hosts (ranks) and L layers; all seconds are of one full micro-batch and, where nothing else is said, one thread.
"""

from dataclasses import dataclass, replace

from mpipipe.layers import Array


@dataclass(frozen=True)
class Problem:
    """Seconds (H, L); `threads` and `room_bytes` (H,); bytes, `tiles` and `weight_flops` of W (L,) as in LayerCost;
    links from host to host (H, H)."""

    micros: int
    forward_s: Array
    input_s: Array
    weight_s: Array
    threads: Array
    room_bytes: Array
    fixed_bytes: Array
    saved_bytes: Array
    held_bytes: Array
    input_bytes: Array
    scratch_bytes: Array
    boundary_bytes: Array
    loss_bytes: Array
    tiles: Array
    weight_flops: Array
    latency_s: Array
    bandwidth: Array

    @property
    def hosts(self) -> int:
        """How many hosts there are."""
        return len(self.threads)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.fixed_bytes)


@dataclass(frozen=True)
class StageChoice:
    """Layers `first` to `last - 1` on a host; with `recompute`, only the stage's input is kept from F to I."""

    host: int
    first: int
    last: int
    recompute: bool = False


Stages = tuple[StageChoice, ...]
"""Stages in pipeline order."""


RECOMPUTE = {"auto": (False, True), "always": (True,), "never": (False,)}
"""By a job's plan.recompute: whether a stage may keep its activations, or recompute them, or either."""


def ways(stage: StageChoice, recompute: str) -> tuple[StageChoice, ...]:
    """The stage in every way that plan.recompute allows."""
    return tuple(replace(stage, recompute=again) for again in RECOMPUTE[recompute])


@dataclass(frozen=True)
class Choice:
    """Stages with the seconds that the closed form gives, and its two parts: those of one micro-batch's way there and
    back, and those that every further micro-batch adds."""

    stages: Stages
    seconds: float
    way_s: float
    period_s: float
