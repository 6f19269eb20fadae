"""add_product: the same bits with BLAS's own addition and without, whatever the shapes and layouts."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from needs import missing
from threadpoolctl import ThreadpoolController

from mpipipe.layers import products
from mpipipe.layers.products import DEPTH, add_product

from .harness import DirtyScratch

BLAS = ThreadpoolController()
NARROW = {np.float32: 1e-6, np.float64: 1e-15}


def lay(random, shape, layout, dtype):
    """A matrix as the layers have them: `rows` as it is, `turned` a transposed view, `columns` a run of columns of a
    wider one, `both` the transposed view of such a run."""
    rows, columns = shape if layout in ("rows", "columns") else shape[::-1]
    extra = 3 if layout in ("columns", "both") else 0
    array = random.standard_normal((rows, columns + 2 * extra)).astype(dtype)[:, extra : extra + columns]
    return array if layout in ("rows", "columns") else array.T


def by_temporaries(left, right, total, first):
    """What add_product promises, written down plainly."""
    depth = left.shape[1]
    step = math.ceil(depth / math.ceil(depth / DEPTH))
    for start in range(0, depth, step):
        part = np.matmul(left[:, start : start + step], right[start : start + step])
        np.copyto(total, part) if first and not start else np.add(total, part, out=total)


LAYOUTS = ("rows", "turned", "columns", "both")
DIMENSIONS = st.one_of(st.integers(1, 9), st.sampled_from([16, 64, 255, 256, 257, 512, 513]), st.integers(1, 700))


@settings(max_examples=150, deadline=None)
@given(
    m=DIMENSIONS,
    k=DIMENSIONS,
    n=DIMENSIONS,
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    dtype=st.sampled_from([np.float32, np.float64]),
    first=st.booleans(),
    seed=st.integers(0, 99),
)
@example(1, 700, 1, ("rows", "rows"), np.float32, False, 0)
@example(1, 300, 40, ("both", "columns"), np.float32, False, 0)
@example(40, 300, 1, ("both", "columns"), np.float32, False, 0)
@example(2, 1, 3, ("rows", "turned"), np.float32, False, 0)
@example(2, 257, 3, ("both", "both"), np.float32, True, 0)
@example(480, 700, 700, ("both", "rows"), np.float32, True, 0)
@example(65, 700, 640, ("turned", "rows"), np.float64, False, 0)
def test_both_ways_give_the_same_bits_near_the_truth_and_touch_nothing_else(m, k, n, layouts, dtype, first, seed):
    random = np.random.default_rng(seed)
    left, right = lay(random, (m, k), layouts[0], dtype), lay(random, (k, n), layouts[1], dtype)
    around = random.standard_normal((m + 2, n)).astype(dtype)
    start = around.copy()
    results = []
    with BLAS.limit(limits=1), pytest.MonkeyPatch.context() as patch:
        for gemm in (products._gemm, lambda dtype: None):
            patch.setattr(products, "_gemm", gemm)
            whole, scratch = start.copy(), DirtyScratch()
            add_product(left, right, whole[1:-1], first, scratch)
            results.append(whole)
            assert scratch.mark() == 0 and scratch.dtypes <= {np.dtype(dtype)}
        plain = start.copy()
        by_temporaries(left, right, plain[1:-1], first)
    assert results[0].tobytes() == results[1].tobytes() == plain.tobytes()
    truth = left.astype(np.float64) @ right.astype(np.float64) + (0 if first else start[1:-1].astype(np.float64))
    room = np.abs(left.astype(np.float64)) @ np.abs(right.astype(np.float64)) + np.abs(start[1:-1])
    assert (np.abs(results[0][1:-1] - truth) <= NARROW[dtype] * np.sqrt(k + 1) * room).all()
    assert results[0][[0, -1]].tobytes() == start[[0, -1]].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blas_adds_in_place_without_a_temporary(dtype):
    if products._gemm(np.dtype(dtype)) is None:
        missing("numpy's BLAS, reached by ctypes")
    scratch, total = DirtyScratch(), np.ones((4, 5), dtype)
    add_product(np.ones((4, 600), dtype), np.ones((600, 5), dtype), total, False, scratch)
    assert scratch.peak_bytes == 0 and (total == 601).all()


def test_what_is_not_finite_stays_so():
    total = np.ones((2, 2), np.float32)
    add_product(
        np.array([[np.nan, 1], [np.inf, 1]], np.float32), np.ones((2, 2), np.float32), total, False, DirtyScratch()
    )
    assert np.isnan(total[0]).all() and np.isinf(total[1]).all()


def test_what_stood_there_is_overwritten_where_it_is_the_first():
    total = np.full((2, 2), np.nan, np.float32)
    add_product(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32), total, True, DirtyScratch())
    assert (total == 3).all()
