"""The order of the samples and the batches cut from it: a function of job and seed, the same for any cluster."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpipipe.data.types import Rows64

_KEY = 0x5EED_0002


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step, int64; `offset` is the place of the first of them within the order of `epoch`."""

    epoch: int
    offset: int
    rows: Rows64


def order(count: int, seed: int, epoch: int) -> Rows64:
    """The order of `count` samples in an epoch: a permutation keyed by (seed, epoch), int64."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, _KEY, epoch))))
    return generator.permutation(count).astype(np.int64)


def steps_per_epoch(count: int, batch: int) -> int:
    """How many batches an epoch has; the last may be smaller."""
    return -(-count // batch)


def batches(count: int, batch: int, seed: int, epoch: int = 0, offset: int = 0) -> Iterator[Batch]:
    """Batches without end, epoch after epoch, from sample `offset` of `epoch` on.

    The last batch of an epoch is smaller where `batch` does not divide `count`; no sample is ever dropped.
    """
    assert count > 0 and batch > 0 and 0 <= offset <= count, (count, batch, offset)
    while True:
        rows = order(count, seed, epoch)
        for begin in range(offset, count, batch):
            yield Batch(epoch, begin, rows[begin : begin + batch])
        epoch, offset = epoch + 1, 0
