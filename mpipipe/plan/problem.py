"""The planner's problem as numbers: what every layer takes on every host, what fits, what messages take.

H hosts (ranks) and L layers; all seconds are of one full micro-batch and, where nothing else is said, one thread.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mpipipe.layers import Array


@dataclass(frozen=True)
class StageChoice:
    """Layers `first` to `last - 1` on a host; with `recompute`, only the stage's input is kept from F to I."""

    host: int
    first: int
    last: int
    recompute: bool = False


@dataclass(frozen=True)
class Problem:
    """Seconds (H, L); `threads` and `room_bytes` (H,); bytes, `tiles` and `weight_flops` of W (L,) as in LayerCost;
    links from host to host (H, H).

    Hosts with the same number in `machine` (H,) are ranks of one computer, which have so many `cores` (H,) together, 0
    where each thread has its own; without `cores` that is so everywhere. A CPU quota is renewed after
    `period_s` (H,). Of each layer's F, I and W together, `sleep_s` (L,) need no core. Rank 0 is host 0, and loads the
    samples of a micro-batch in `load_s`.
    """

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
    machine: Array | None = None
    cores: Array | None = None
    period_s: Array | None = None
    sleep_s: Array | None = None
    load_s: float = 0.0

    @property
    def hosts(self) -> int:
        """How many hosts there are."""
        return len(self.threads)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.fixed_bytes)

    def seconds(self, stage: StageChoice) -> tuple[float, float, float]:
        """Of a stage's F, I and W on its host, whether it recomputes or not."""
        forward, back, weight = (table[stage.host] for table in self._seconds_before)
        first, last = stage.first, stage.last
        return forward[last] - forward[first], back[last] - back[first], weight[last] - weight[first]

    @cached_property
    def sleeping_parts(self) -> Array:
        """Of the seconds of each layer on each host (H, L), the part that needs no core."""
        every = self.forward_s + self.input_s + self.weight_s
        sleep_s = np.zeros(self.layers) if self.sleep_s is None else self.sleep_s
        found: Array = np.minimum(1.0, sleep_s / np.maximum(every, 1e-12))
        return found

    def sleeping(self, stage: StageChoice) -> float:
        """The same of a stage."""
        if self.sleep_s is None:
            return 0.0
        every = sum(self.seconds(stage))
        return min(1.0, float(self.sleep_s[stage.first : stage.last].sum()) / every) if every else 0.0

    def sizes(self, stage: StageChoice) -> tuple[int, int, int, int]:
        """Fixed, saved and held bytes of a stage's layers, and the most scratch that one of them needs."""
        fixed, saved, held = self._bytes_before
        first, last = stage.first, stage.last
        scratch = max(self._scratch[first:last])
        return fixed[last] - fixed[first], saved[last] - saved[first], held[last] - held[first], scratch

    @cached_property
    def _seconds_before(self) -> tuple[list[list[float]], ...]:
        """Seconds of all layers before each, by kind of work and host."""
        return tuple(_before(table).tolist() for table in (self.forward_s, self.input_s, self.weight_s))

    @cached_property
    def _bytes_before(self) -> tuple[list[int], ...]:
        return tuple(_before(table).tolist() for table in (self.fixed_bytes, self.saved_bytes, self.held_bytes))

    @cached_property
    def _scratch(self) -> list[int]:
        found: list[int] = self.scratch_bytes.tolist()
        return found


def _before(table: Array) -> Array:
    """Sums over all layers before each and, last, over all."""
    sums = np.zeros((*table.shape[:-1], table.shape[-1] + 1), table.dtype)
    np.cumsum(table, axis=-1, out=sums[..., 1:])
    return sums


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
