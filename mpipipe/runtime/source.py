"""The source, on rank 0: loads samples micro-batch by micro-batch and sends them to the first and the last stage."""

from collections.abc import Callable

import numpy as np

from mpipipe.layers import Array, Scratch, Shape, touched

Feed = Callable[[Array, Array, Array | None], None]
"""Fills features, and targets where wanted, of the given row numbers, scaled and ready for the first layer."""


class Source:
    """Buffers for `slots` micro-batches of features on their way, and for the targets of a whole batch."""

    def __init__(self, slots: int, batch: int, micro_batch: int, shape: Shape, target: Shape, labels: bool) -> None:
        self.micro_batch = micro_batch
        self.features = [touched((micro_batch, *shape), np.float32) for _ in range(slots)]
        self.targets = touched((batch, *target), np.int64 if labels else np.float32)
        self.rows: Array = np.empty(0, np.int64)
        self.feed: Feed | None = None
        self.wants_targets = True

    def begin(self, rows: Array, feed: Feed, wants_targets: bool) -> None:
        """Get ready for the batch of these row numbers."""
        self.rows, self.feed, self.wants_targets = rows, feed, wants_targets

    def load(self, micro: int, scratch: Scratch) -> None:
        """The task that reads one micro-batch."""
        assert self.feed is not None
        start = micro * self.micro_batch
        rows = self.rows[start : start + self.micro_batch]
        self.feed(rows, self.x(micro), self.t(micro) if self.wants_targets else None)

    def x(self, micro: int) -> Array:
        """Features of a micro-batch."""
        return self.features[micro % len(self.features)][: self._count(micro)]

    def t(self, micro: int) -> Array:
        """Targets of a micro-batch."""
        start = micro * self.micro_batch
        return self.targets[start : start + self._count(micro)]

    def counted(self) -> int:
        """Targets of the batch that are not ignored, once all are loaded; samples where targets are values."""
        targets = self.targets[: len(self.rows)]
        return int(np.count_nonzero(targets >= 0)) if targets.dtype == np.int64 else len(targets)

    def bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(array.nbytes for array in (*self.features, self.targets))

    def _count(self, micro: int) -> int:
        return min(self.micro_batch, len(self.rows) - micro * self.micro_batch)
