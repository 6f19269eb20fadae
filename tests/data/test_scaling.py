"""Scaling against numpy's own mean and deviation; refusal of NaN and infinity."""

import numpy as np
import pytest
from data_files import features, open_path, refused, save_csv
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mpipipe.data import Part, check_finite, gather, measure
from mpipipe.data.table import make_table


def part(x, rows=None):
    return Part(make_table("test", np.asarray(x), None), rows)


def scaled(some, kind, dtype=np.float64):
    x = features(some, dtype)
    scaling = measure(some, kind, "here")
    scaling.apply(x)
    assert x.dtype == dtype and scaling.shift.dtype == scaling.factor.dtype == np.float64 and scaling.kind == kind
    return x


def test_standard_equals_numpy_over_many_pieces(monkeypatch):
    monkeypatch.setattr(gather, "PIECE_BYTES", 7 * 12 * 8)
    x = np.random.default_rng(1).normal(5, 3, (101, 3, 4))
    scaling = measure(part(x), "standard", "here")
    np.testing.assert_allclose(scaling.shift, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scaling.factor, 1 / x.std(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scaled(part(x), "standard", np.float32).std(axis=0), 1, rtol=1e-5)


def test_a_large_mean_costs_no_digits(monkeypatch):
    monkeypatch.setattr(gather, "PIECE_BYTES", 64)
    x = 1e9 + np.random.default_rng(2).normal(size=(1000, 1))
    np.testing.assert_allclose(1 / measure(part(x), "standard", "here").factor, x.std(axis=0), rtol=1e-7)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)))
def test_standard_of_anything_finite_is_finite(x):
    assert np.isfinite(scaled(part(x), "standard", np.float32)).all()


def test_constant_features_become_zero_and_keep_factor_one(monkeypatch):
    monkeypatch.setattr(gather, "PIECE_BYTES", 100)
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000)])
    assert measure(part(x), "standard", "here").factor[0] == 1
    for dtype in (np.float32, np.float64):
        assert not scaled(part(x), "standard", dtype)[:, 0].any()


def test_range_goes_from_0_to_1_over_all_features():
    x = np.array([[2, 5], [10, 3]], np.uint8)
    np.testing.assert_allclose(scaled(part(x), "range"), (x - 2.0) / 8)
    assert not scaled(part(np.full((3, 2), 7)), "range").any()


def test_none_changes_nothing():
    x = np.random.default_rng(3).normal(size=(9, 2))
    assert np.array_equal(scaled(part(x), "none"), x)


def test_only_the_rows_of_the_part_are_measured():
    x = np.arange(12.0).reshape(6, 2)
    rows = np.array([1, 4])
    assert np.array_equal(measure(part(x, rows), "standard", "here").shift, x[rows].mean(axis=0))


@pytest.mark.parametrize("kind", ["none", "standard", "range"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_is_named_by_row_and_feature(kind, bad, monkeypatch):
    monkeypatch.setattr(gather, "PIECE_BYTES", 32)
    x = np.zeros((20, 2))
    x[13, 1] = bad
    some = part(x, np.arange(10, 20))
    refused(lambda: measure(some, kind, "some.npz"), f"some.npz: {bad:g} in row 13, feature 1 (counted from 0)")
    refused(lambda: check_finite(some, "some.npz"), "row 13, feature 1")
    check_finite(part(x, np.arange(13)), "some.npz")


def test_features_of_images_and_of_tables(tmp_path):
    x = np.zeros((3, 2, 2))
    x[2, 1, 0] = np.nan
    refused(lambda: check_finite(part(x), "here"), "row 2, feature (1, 0)")
    table = save_csv(tmp_path / "a.csv", ["age", "size", "target"], [[1, 2, 0], [3, "nan", 1]])
    data = open_path(table, validation=0.0)
    refused(lambda: measure(data.train, "standard", "a.csv"), "nan in row 1, column 'size', feature 1")
