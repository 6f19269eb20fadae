"""Names and paths, the split, and labels against a model's outputs."""

from types import SimpleNamespace

import numpy as np
import pytest
from data_files import features, open_path, refused, targets
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.data import check_labels, open_inputs, shipped_sets
from mpipipe.data.split import hold_back
from mpipipe.fit import check_targets


@pytest.fixture
def path(tmp_path):
    x = np.arange(50.0).reshape(50, 1)
    np.savez(tmp_path / "both.npz", x_train=x, y_train=np.arange(50) % 3, x_test=x[:4] + 100, y_test=np.arange(4))
    np.savez(tmp_path / "some.npz", x=x, y=np.arange(50) % 3)
    return tmp_path / "some.npz"


@given(st.integers(1, 300), st.floats(0, 1, exclude_max=True), st.integers(0, 2**40))
def test_a_split_is_a_partition_and_the_same_for_the_same_seed(count, fraction, seed):
    train, held = hold_back(count, fraction, seed)
    assert sorted([*train, *held]) == list(range(count))
    assert len(train) and abs(len(held) - fraction * count) <= 1
    again = hold_back(count, fraction, seed)
    assert np.array_equal(train, again[0]) and np.array_equal(held, again[1])


def test_another_seed_holds_back_other_rows():
    assert not np.array_equal(hold_back(100, 0.3, 1)[1], hold_back(100, 0.3, 2)[1])


def test_auto_takes_the_own_test_part_or_a_fifth(path):
    data = open_path(path)
    assert (data.train.count, data.validation.count) == (40, 10)
    assert sorted(features(data.train)[:, 0].tolist() + features(data.validation)[:, 0].tolist()) == list(range(50))
    assert np.array_equal(targets(data, data.validation), features(data.validation)[:, 0] % 3)
    both = open_path(path.with_name("both.npz"))
    assert both.train.count == 50 and features(both.validation)[:, 0].tolist() == [100, 101, 102, 103]


def test_a_number_wins_over_the_own_test_part(path):
    data = open_path(path.with_name("both.npz"), validation=0.5)
    assert (data.train.count, data.validation.count) == (25, 25) and features(data.validation).max() < 100


def test_zero_holds_nothing_back(path):
    data = open_path(path, validation=0.0)
    assert (data.train.count, data.validation.count) == (50, 0) and features(data.validation).shape == (0, 1)


def test_a_path_validates_with_all_rows_of_another_set(path):
    data = open_path(path, validation=str(path.with_name("both.npz")))
    assert (data.train.count, data.validation.count) == (50, 50)
    refused(lambda: open_path(path, validation="digits"), "(64,)", "(1,)")
    refused(lambda: open_path(path, validation="nowhere.npz"), "nowhere.npz")


def test_all_rows_leaves_nothing_out(path):
    assert open_path(path, all_rows=True, validation=0.5).validation.count == 50
    assert open_path(path.with_name("both.npz"), all_rows=True, validation=0.5).validation.count == 4


def test_targets_of_another_size_cannot_validate(path, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.ones((5, 1)), y=np.ones((5, 2)))
    refused(lambda: open_path(path, labels=False, validation=str(tmp_path / "wide.npz")), "2 values a target", "1, as")
    x = np.ones((5, 1))
    np.savez(tmp_path / "odd.npz", x_train=x, y_train=x, x_test=x, y_test=np.ones((5, 3)))
    refused(lambda: open_path(tmp_path / "odd.npz", labels=False), "3 values a target")


def test_the_shipped_digits():
    assert "digits" in shipped_sets()
    data = open_path("digits")
    assert data.train.count + data.validation.count == 1797 and data.source == "digits"
    x, t = features(data.train), targets(data, data.train)
    assert x.shape[1:] == (64,) and x.min() == 0 and x.max() == 16 and sorted(set(t)) == list(range(10))
    assert open_inputs("digits", (8, 8), (), "target").count == 1797


def test_unknown_names_paths_and_formats(tmp_path):
    refused(lambda: open_path("digit"), "'digit'", "did you mean 'digits'?")
    refused(lambda: open_path("zzz"), "'zzz'", "digits")
    refused(lambda: open_path(""), "no path")
    refused(lambda: open_path(tmp_path / "none.csv"), "none.csv", "no such file")
    (tmp_path / "some.doc").write_text("1")
    refused(lambda: open_path(tmp_path / "some.doc"), "unknown format", ".csv.gz", ".h5")
    refused(lambda: open_path("~nobody-of-this-name/some.csv"), "~nobody-of-this-name")
    refused(lambda: open_path("a" * 5000), "cannot be read")


def test_labels_outside_the_outputs_are_named_by_row(path):
    data = open_path(path, validation=0.5)
    check_labels(data.train, 3, "some")
    check_labels(open_path(path, validation=0.0).validation, 1, "some")
    first = int(features(data.train)[targets(data, data.train) == 2][0, 0])
    words = "some.npz", f"label 2 in row {first}", "0 to 1", "2 outputs"
    refused(lambda: check_labels(data.train, 2, "some.npz"), *words)


def outputs(*shape):
    """What `check_targets` looks at in a model with these outputs."""
    loss = SimpleNamespace(labels=True, target_shape=lambda shape: shape[:-1])
    return SimpleNamespace(names=["000_linear"], shapes=[shape, shape], loss=loss)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("places", [(), (3,)])
def test_one_hot_labels_are_named_with_what_to_do(tmp_path, kind, places):
    labels = np.arange(20 * int(np.prod(places))).reshape(20, *places) % 4
    np.savez(tmp_path / "some.npz", x=np.ones((20, 2)), y=np.eye(4)[labels].astype(kind))
    data = open_path(tmp_path / "some.npz", validation=0.0)
    words = "looks one-hot, of 4 classes", "a label from 0 to 3", "y.argmax(axis=-1)"
    refused(lambda: check_targets(data, outputs(*places, 4), "some.npz"), "some.npz: y of shape (samples, ", *words)
    check_targets(data, outputs(*places, 4, 2), "some.npz")  # a label at every place is what this model wants
    assert "argmax" not in refused(lambda: check_targets(data, outputs(7, 7, 4), "some.npz"))


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0], [0, 2, 1]])
def test_other_targets_of_many_values_are_not_called_one_hot(tmp_path, row):
    np.savez(tmp_path / "some.npz", x=np.ones((4, 2)), y=[[1, 0, 0], [0, 1, 0], row, [0, 0, 1]])
    data = open_path(tmp_path / "some.npz", validation=0.0)
    message = refused(lambda: check_targets(data, outputs(3), "some.npz"), "targets of shape (3,)")
    assert "one-hot" not in message
