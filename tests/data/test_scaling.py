"""Scaling against numpy's own mean and deviation; refusal of NaN and infinity."""

import h5py
import numpy as np
import pytest
from data_files import open_path, refused, save_csv
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mpipipe.data import Part, check_finite, gather, measure, measure_targets
from mpipipe.data import scaling as scaling_module
from mpipipe.data.table import make_table


def part(x, rows=None):
    return Part(make_table("test", np.asarray(x), None), rows)


def scaled(some, kind, dtype=np.float64):
    x = np.empty((some.count, *some.shape), dtype)
    scaling = measure(some, kind, "here")
    scaling.fill(some.fill, np.arange(some.count), x)
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


@pytest.mark.parametrize("kind", ["standard", "range"])
@pytest.mark.parametrize("stored", ["npz", "h5", "csv", "int64"])
def test_features_far_from_zero_keep_their_digits(tmp_path, kind, stored):
    near = np.random.default_rng(3).permutation(3000)[:, None] * (1.0 if stored == "int64" else 0.25)
    far = near + 1_700_000_000
    path = tmp_path / f"far.{'npz' if stored == 'int64' else stored}"
    if path.suffix == ".npz":
        np.savez(path, x=far.astype(np.int64 if stored == "int64" else np.float64), y=np.zeros(3000))
    elif stored == "h5":
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = far, np.zeros(3000)
    else:
        save_csv(path, ["a", "target"], [[repr(float(value)), 0] for value in far[:, 0]])
    found = scaled(open_path(path, validation=0.0).train, kind, np.float32)
    np.testing.assert_allclose(found, scaled(part(near), kind, np.float64), atol=1e-6)


def test_tiny_features_are_scaled_too():
    np.testing.assert_allclose(scaled(part([[1e-60], [3e-60]]), "standard", np.float32), [[-1], [1]], rtol=1e-6)


def test_scaling_takes_rows_in_bounded_pieces(monkeypatch):
    x = np.random.default_rng(5).normal(7, 2, (1000, 3))
    whole, sizes = scaled(part(x), "standard", np.float32), []
    monkeypatch.setattr(scaling_module, "_FILL_BYTES", 7 * 24)
    scaling, out = measure(part(x), "standard", "here"), np.empty((1000, 3), np.float32)

    def gather_rows(rows, wide):
        sizes.append(wide.nbytes)
        wide[...] = x[rows]

    scaling.fill(gather_rows, np.arange(1000)[::-1], out)
    assert np.array_equal(out, whole[::-1]) and max(sizes) == 7 * 24


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 3)), elements=st.floats(-1, 1)),
    st.sampled_from([1e-30, 1e-9, 1.0, 1e9, 1e30]),
    st.sampled_from([0.0, 1.0, 1e3]),
)
def test_targets_get_mean_0_and_a_mean_variance_of_1_and_come_back(y, unit, offset):
    y = (y + offset) * unit
    some = Part(make_table("test", np.zeros((len(y), 1)), y))
    scaling = measure_targets(some, y.shape[1:])
    t = np.empty(y.shape)
    scaling.fill(some.fill_targets, np.arange(len(y)), t)
    np.testing.assert_allclose(scaling.restore(t), y, rtol=1e-12, atol=unit * 1e-12)
    variance = y.var(axis=0).mean()
    if variance > (unit * (1 + offset) * 1e-9) ** 2:
        np.testing.assert_allclose(t.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(t.var(axis=0).mean(), 1, rtol=1e-4)
        np.testing.assert_allclose(scaling.squared_unit, variance, rtol=1e-4)


def test_targets_that_are_all_alike_are_only_shifted():
    some = Part(make_table("test", np.zeros((9, 1)), np.full((9, 2), 0.1)))
    scaling = measure_targets(some, (2,))
    assert scaling.factor == 1 and scaling.shift.tolist() == [0.1, 0.1]


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
