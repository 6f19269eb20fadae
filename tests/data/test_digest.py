"""Two data sets are the same by their numbers and their order, whatever the path and the format; else a notice."""

import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest
from data_files import save_csv, save_idx

from mpipipe.data import Identity, identify, open_data, other_data, were_trained_on
from mpipipe.job import DataSettings

rng = np.random.default_rng(5)
X, Y = rng.integers(0, 100, (60, 4)).astype(np.float64), rng.integers(0, 3, 60)
ORDER = rng.permutation(60)
OTHERS = {
    "a row more": (np.vstack([X, X[:1]]), np.append(Y, Y[0])),
    "a row less": (X[:-1], Y[:-1]),
    "shuffled": (X[ORDER], Y[ORDER]),
    "shuffled features": (X[ORDER], Y),
    "relabelled": (X, (Y + 1) % 3),
    "one label": (X, np.where(np.arange(60) == 31, (Y + 1) % 3, Y)),
    "other units": (X * 1000, Y),
    "one number": (X + 1e-6 * (np.arange(240).reshape(60, 4) == 77), Y),
    "an offset that float32 does not see": (X + 1e9, Y),
}


def opened(path, labels=True, all_rows=False, seed=1, **keys):
    return open_data(DataSettings(str(path), **keys), labels, seed, all_rows)


def saved(path, x=X, y=Y):
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture
def known(tmp_path):
    return identify(opened(saved(tmp_path / "known.npz")))


def test_the_same_numbers_are_the_same_in_any_format(tmp_path, known, monkeypatch):
    saved(tmp_path / "single.npz", X.astype(np.float32))
    save_csv(tmp_path / "some.csv", [*"abcd", "target"], np.column_stack([X.astype(int), Y]))
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["x"], file["y"] = X.astype(np.int16), Y
    for name in ("single.npz", "some.csv", "some.h5"):
        assert identify(opened(tmp_path / name)) == known, name
    monkeypatch.chdir(tmp_path)
    assert identify(opened("./known.npz")) == known and other_data(known, known, "known.npz") == []


@pytest.mark.parametrize("name", OTHERS)
def test_other_data_are_noticed(tmp_path, known, name):
    found = identify(opened(saved(tmp_path / "other.npz", *OTHERS[name])))
    (notice,) = other_data(known, found, "other.npz")
    assert notice.startswith("other.npz is not what the model was trained on (")
    rows = len(OTHERS[name][0])
    held = f"{rows - 12:,} for training and 12 held back; they were 48 for training and 12 held back"
    assert (held if rows != 60 else "other samples, or another order") in notice


@pytest.mark.parametrize("keys", [{"seed": 2}, {"validation": 0.2, "seed": 3}])
def test_another_choice_of_the_same_samples_is_noticed(tmp_path, known, keys):
    found = identify(opened(tmp_path / "known.npz", **keys))
    assert "others of its samples are held back" in other_data(known, found, "known.npz")[0]


def test_where_nothing_is_known_nothing_is_said(known):
    assert other_data(Identity(), known, "some.npz") == []


def test_values_and_sequences_have_a_digest_too(tmp_path):
    (tmp_path / "some.txt").write_text("to be or not to be " * 40)
    text = identify(opened(tmp_path / "some.txt", context=8))
    (tmp_path / "other.txt").write_text("to be or not to be " * 39 + "to be or not to me ")
    assert text != identify(opened(tmp_path / "other.txt", context=8))
    assert text != identify(opened(tmp_path / "some.txt", context=9))
    values = identify(opened(saved(tmp_path / "values.npz", y=X[:, :2] / 3), labels=False))
    assert values != identify(opened(saved(tmp_path / "other.npz", y=X[:, :2] / 3 + 1e-9), labels=False))


def test_of_much_data_pieces_stand_for_all_in_bounded_memory(tmp_path):
    x = rng.integers(0, 100, (4000, 1000)).astype(np.uint8)
    data = opened(saved(tmp_path / "much.npz", x, np.zeros(4000, int)))
    shuffled = opened(saved(tmp_path / "again.npz", x[rng.permutation(4000)], np.zeros(4000, int)))
    for most_bytes in (1 << 23, 1 << 29):
        tracemalloc.start()
        first, again = identify(data, most_bytes), identify(shuffled, most_bytes)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert first != again and replace(first, samples="") == replace(again, samples="")
        assert peak < 16 << 20  # of 32 MB as float64


def test_what_was_trained_on_is_known_again(tmp_path, known):
    assert were_trained_on(known, opened(saved(tmp_path / "moved.npz"), all_rows=True))
    assert not were_trained_on(known, opened(saved(tmp_path / "other.npz", X + 1), all_rows=True))
    assert not were_trained_on(Identity(), opened(tmp_path / "moved.npz", all_rows=True))


def test_a_test_part_was_not_trained_on(tmp_path):
    images, labels = rng.integers(0, 255, (30, 4, 4)).astype("u1"), (np.arange(30) % 3).astype("u1")
    save_idx(tmp_path / "set", "train", images[:20], labels[:20])
    save_idx(tmp_path / "set", "t10k", images[20:], labels[20:])
    known = identify(opened(tmp_path / "set"))
    assert (known.train, known.held_back) == (20, 10)
    assert not were_trained_on(known, opened(tmp_path / "set", all_rows=True))
    (tmp_path / "alone").mkdir()
    for file in (tmp_path / "set").glob("train*"):
        file.rename(tmp_path / "alone" / file.name)
    assert were_trained_on(known, opened(tmp_path / "alone", all_rows=True))


def test_a_text_was_trained_on_but_for_its_tail(tmp_path):
    (tmp_path / "some.txt").write_text("to be or not to be " * 40)
    known = identify(opened(tmp_path / "some.txt", context=8))
    assert were_trained_on(known, opened(tmp_path / "some.txt", all_rows=True, context=8))


def test_a_file_held_back_was_not_trained_on(tmp_path):
    other = saved(tmp_path / "other.npz", X[:50] + 7, Y[:50])
    known = identify(opened(saved(tmp_path / "some.npz"), validation=str(other)))
    assert were_trained_on(known, opened(tmp_path / "some.npz", all_rows=True))
    assert not were_trained_on(known, opened(other, all_rows=True))
