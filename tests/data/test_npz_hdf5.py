"""Named arrays in .npz and HDF5 files: round trips, reading in pieces, and every way in which they can be wrong."""

import gc

import h5py
import numpy as np
import pytest
from data_files import features, open_path, refused, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpipipe.data import gather, hdf5, open_inputs

rng = np.random.default_rng(5)
X, Y = rng.normal(size=(30, 2, 3)).astype("f4"), rng.integers(0, 4, 30)
X2, Y2 = X[:7] + 1, Y[:7]
SUFFIXES = [".npz", ".h5", ".hdf5"]


def save_arrays(path, **arrays):
    arrays = {name.replace("__", "/"): values for name, values in arrays.items()}
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values.astype(object) if values.dtype.kind == "U" else values
    return path


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / f"some{request.param}"


def test_x_and_y(path):
    data = open_path(save_arrays(path, x=X, y=Y), validation=0.0)
    assert data.train.shape == (2, 3) and np.array_equal(features(data.train), X)
    assert np.array_equal(targets(data, data.train), Y)


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"), ("x", "y", "test__x", "test__y")])
def test_their_own_test_part(path, names):
    data = open_path(save_arrays(path, **dict(zip(names, (X, Y, X2, Y2), strict=True))))
    assert np.array_equal(features(data.train), X) and np.array_equal(features(data.validation), X2)
    assert np.array_equal(targets(data, data.validation), Y2)
    assert np.array_equal(features(open_inputs(str(path), (6,), (), "")), X2.reshape(7, 6))


def test_values_to_learn(path):
    one = open_path(save_arrays(path, x=X, y=Y / 7), labels=False, validation=0.0)
    assert one.target_shape == (1,) and np.array_equal(targets(one, one.train)[:, 0], Y / 7)
    many = open_path(save_arrays(path.with_name("two" + path.suffix), x=X, y=X[:, 0]), labels=False, validation=0.0)
    assert many.target_shape == (3,) and np.array_equal(targets(many, many.train), X[:, 0])


def test_whole_floats_one_column_and_names_make_labels(path):
    data = open_path(save_arrays(path, x=X, y=Y.reshape(-1, 1).astype(float)), validation=0.0)
    assert np.array_equal(targets(data, data.train), Y)
    names = open_path(save_arrays(path.with_name("b" + path.suffix), x=X, y=np.array(list("dcba"))[Y]), validation=0.0)
    assert names.classes == ("a", "b", "c", "d") and np.array_equal(targets(names, names.train), 3 - Y)


def test_inputs_need_no_targets(path):
    save_arrays(path, x=X)
    assert np.array_equal(features(open_inputs(str(path), (3, 2), (), "")), X.reshape(30, 3, 2))
    refused(lambda: open_inputs(str(path), (7,), (), ""), "(2, 3)", "(7,)")
    refused(lambda: open_path(path), "holds x but no y")


def test_missing_arrays_and_wrong_ones(path):
    def wrong(*words, **arrays):
        path.unlink(missing_ok=True)
        refused(lambda: open_path(save_arrays(path, **arrays), arrays.get("y") is not X), path, *words)

    wrong("holds data, labels", "an array x", data=X, labels=Y)
    wrong("30 samples but 29 targets", x=X, y=Y[:-1])
    wrong("at least one sample", x=X[:0], y=Y[:0])
    wrong("features of type", "numbers", x=np.array(["a", "b"]), y=Y[:2])
    wrong("features of type complex", x=X.astype(complex), y=Y)
    wrong("in row 0, position (0, 0) (counted from 0)", "whole numbers", "-1 to ignore", x=X, y=X.astype("f8") + 0.5)
    wrong("targets of shape (30, 0)", x=X, y=Y.reshape(30, 1)[:, :0])
    wrong("target -1 in row 11", "whole numbers", x=X, y=np.where(np.arange(30) == 11, -1, Y))
    wrong("target 0.5 in row 29", x=X, y=np.where(np.arange(30) == 29, 0.5, Y))
    wrong("target nan in row 3", x=X, y=np.where(np.arange(30) == 3, np.nan, Y))


def test_values_that_are_not_finite(path):
    save_arrays(path, x=X, y=np.where(X[:, 0] == X[8, 0, 2], np.inf, X[:, 0]))
    refused(lambda: open_path(path, labels=False), "target inf in row 8", "finite")


@pytest.mark.parametrize("cut", [0, 1, 40, 500, -1])
def test_truncated_files(path, cut):
    save_arrays(path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:cut])
    refused(lambda: open_path(path), path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=30))
@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_damaged_files_read_or_are_refused_but_never_break(tmp_path, suffix, place, junk):
    path = tmp_path / f"whole{suffix}"
    content = path.read_bytes() if path.exists() else save_arrays(path, x=X, y=Y).read_bytes()
    at = int(place * len(content))
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(content[:at] + junk + content[at + len(junk) :])
    try:
        data = open_path(damaged)
        features(data.train)
    except gather.DataError as error:
        assert "\n" not in str(error)


def test_pickles_and_bare_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}]), y=Y[:1])
    refused(lambda: open_path(tmp_path / "a.npz"), "cannot be read")
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, X)
    refused(lambda: open_path(tmp_path / "b.npz"), "not a zip archive of arrays")


@pytest.fixture
def big(tmp_path, monkeypatch):
    """A chunked file of many pieces: a piece holds 10 rows."""
    monkeypatch.setattr(gather, "PIECE_BYTES", 10 * 6 * 4)
    monkeypatch.setattr(hdf5, "RESIDENT_SHARE", 0.0)
    values = rng.normal(size=(997, 2, 3)).astype("f4")
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(16, 2, 3), compression="gzip")
        file["y"] = np.arange(997) % 5
    data = open_path(tmp_path / "big.h5", validation=0.0)
    gc.collect()
    return values, data


def test_a_file_larger_than_a_piece_reads_as_numpy_does(big):
    values, data = big
    assert isinstance(data.train.source.x, h5py.Dataset)
    assert np.array_equal(features(data.train, np.float32), values)
    assert np.array_equal(targets(data, data.train), np.arange(997) % 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 996), max_size=80), st.integers(1, 997))
def test_any_rows_in_any_order_read_as_numpy_does(big, rows, among):
    values, data = big
    chosen = np.array(rows, np.int64) % among
    x = np.empty((len(rows), 2, 3), np.float32)
    data.train.fill(chosen, x)
    assert np.array_equal(x, values[chosen])


@pytest.mark.parametrize("share", [0.0, hdf5.RESIDENT_SHARE])
def test_damage_that_shows_only_when_rows_are_read(tmp_path, monkeypatch, share):
    monkeypatch.setattr(hdf5, "RESIDENT_SHARE", share)
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as file:
        chunk = file.create_dataset("x", data=np.arange(9000.0).reshape(300, 30), chunks=(100, 30), compression="gzip")
        offset = chunk.id.get_chunk_info(1).byte_offset
        file["y"] = np.zeros(300)
    content = path.read_bytes()
    path.write_bytes(content[:offset] + b"\xff" * 64 + content[offset + 64 :])
    refused(lambda: open_path(path, validation=0.0), path, "/x", "cannot be read")
    with h5py.File(path) as file:
        out = np.empty((1, 30))
        gather.gather(file["x"], np.array([99]), out)
        refused(lambda: gather.gather(file["x"], np.array([100]), out), path, "/x", "cannot be read")
