"""Products that add in place: the same bits with BLAS's own addition and without, for any shape and layout."""

import numpy as np
import pytest

from mpipipe.layers import Scratch, products

SHAPES = [(5, 7, 3), (40, 300, 24), (1, 9, 4), (6, 9, 1), (6, 1, 4), (1, 1, 1), (24, 600, 16), (12, 257, 8)]


def operands(shape, dtype, turned):
    m, k, n = shape
    random = np.random.default_rng(m + k + n)
    left, right = random.standard_normal((m, k)).astype(dtype), random.standard_normal((k, n)).astype(dtype)
    if turned:
        return np.ascontiguousarray(left.T).T, np.ascontiguousarray(right.T).T, random.standard_normal((m, n))
    return left, right, random.standard_normal((m, n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("first", [False, True])
def test_in_place_and_by_a_temporary_are_the_same_bits(monkeypatch, shape, turned, dtype, first):
    left, right, start = operands(shape, dtype, turned)
    fast, slow = start.astype(dtype), start.astype(dtype)
    products.add_product(left, right, fast, first, Scratch())
    monkeypatch.setattr(products, "_gemm", lambda kind: None)
    products.add_product(left, right, slow, first, Scratch())
    assert fast.tobytes() == slow.tobytes()
    wanted = left.astype(np.float64) @ right + (0 if first else start.astype(dtype))
    np.testing.assert_allclose(fast, wanted, rtol=0, atol=(1e-4 if dtype == np.float32 else 1e-12))
