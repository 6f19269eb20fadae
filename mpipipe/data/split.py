"""Which samples train and which validate."""

import numpy as np

from mpipipe.data.types import Rows64

AUTO_FRACTION = 0.2
AUTO_TAIL = 0.1  # of a text
_KEY = 0x5EED_0001


def hold_back(count: int, fraction: float, seed: int) -> tuple[Rows64, Rows64]:
    """Rows to train on and rows held back, each ascending; together every row once, the same for the same seed.

    Any fraction above 0 holds back at least one row, and leaves at least one.
    """
    held = held_count(count, fraction)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, _KEY))))
    rows = generator.permutation(count).astype(np.int64)
    return np.sort(rows[held:]), np.sort(rows[:held])


def held_count(count: int, fraction: float) -> int:
    """How many of `count` samples a fraction holds back: see `hold_back`."""
    return min(count - 1, max(1, round(count * fraction))) if fraction > 0 else 0
