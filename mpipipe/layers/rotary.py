"""Rotary positions: pairs of features turned by angles that grow with the place (Su et al. 2021, section 3.2.2).

Pairs are made of halves, as GPT-NeoX has them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.layers.types import Array, Scratch

_BASE = 10000.0


def turn(arrays: tuple[Array, Array], start: int, sign: float, scratch: Scratch) -> None:
    """Turn pairs (feature i, feature i + d/2) of (..., places, d) by `sign` times the angle of place and i, in place.

    The first place is number `start`.
    """
    for array in arrays:
        places, d = array.shape[-2:]
        # Tables of up to twice the length serve many places that come one by one.
        tables = _angles(1 << (start + places - 1).bit_length(), d, sign, array.dtype.str)
        cosine, sine = (table[start : start + places] for table in tables)
        one, two = array[..., : d // 2], array[..., d // 2 :]
        mark = scratch.mark()
        kept = scratch.take(one.shape, array.dtype)
        part = scratch.take(one.shape, array.dtype)
        np.multiply(one, sine, out=kept)
        np.multiply(one, cosine, out=one)
        np.subtract(one, np.multiply(two, sine, out=part), out=one)
        np.multiply(two, cosine, out=two)
        np.add(two, kept, out=two)
        scratch.release(mark)


@lru_cache(64)
def _angles(places: int, d: int, sign: float, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cosines and, times `sign`, sines (places, d / 2)."""
    rates = _BASE ** (-np.arange(0, d, 2, dtype=np.float64) / d)
    angles = np.arange(places, dtype=np.float64)[:, None] * rates
    return np.cos(angles).astype(dtype), (sign * np.sin(angles)).astype(dtype)
