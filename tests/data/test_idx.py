"""IDX folders and files: round trips, and every way in which they can be wrong."""

import gzip

import numpy as np
import pytest
from data_files import features, idx_bytes, open_path, refused, save, save_idx, targets

from mpipipe.data import open_inputs

rng = np.random.default_rng(3)
X, Y = rng.integers(0, 256, (20, 4, 5), np.uint8), rng.integers(0, 10, 20, np.uint8)
X2, Y2 = rng.integers(0, 256, (6, 4, 5), np.uint8), rng.integers(0, 10, 6, np.uint8)


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("gz", ["", ".gz"])
def test_a_folder_reads_back_with_its_test_part_as_validation(tmp_path, mark, gz):
    save_idx(tmp_path, "train", X, Y, mark, gz)
    save_idx(tmp_path, "t10k", X2, Y2, mark, gz)
    data = open_path(tmp_path)
    assert data.train.shape == (4, 5) and data.target_shape == () and data.classes == ()
    assert np.array_equal(features(data.train), X) and np.array_equal(targets(data, data.train), Y)
    assert np.array_equal(features(data.validation, np.float32), X2)
    assert np.array_equal(targets(data, data.validation), Y2)


def test_images_stay_bytes_in_memory(tmp_path):
    assert open_path(save_idx(tmp_path, "train", X, Y)).train.source.x.dtype == np.uint8


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "f4", "f8"])
def test_every_number_type_of_the_format_is_read(tmp_path, kind):
    x = rng.normal(0, 30, X.shape).astype(kind)
    assert np.array_equal(features(open_path(save_idx(tmp_path, "train", x, Y), validation=0.0).train), x)


def test_inputs_come_from_a_file_of_images_or_from_the_test_part(tmp_path):
    save_idx(tmp_path, "train", X, Y)
    file = save(tmp_path / "some-images-idx3-ubyte.gz", idx_bytes(X2))
    assert np.array_equal(features(open_inputs(str(file), (20,), (), "target")), X2.reshape(6, 20))
    assert np.array_equal(features(open_inputs(str(tmp_path), (4, 5), (), "target")), X)
    save_idx(tmp_path, "t10k", X2, Y2)
    assert np.array_equal(features(open_inputs(str(tmp_path), (4, 5), (), "target")), X2)


def test_inputs_need_no_training_part_and_no_labels(tmp_path):
    save(tmp_path / "t10k-images-idx3-ubyte", idx_bytes(X2))
    assert np.array_equal(features(open_inputs(str(tmp_path), (4, 5), (), "target")), X2)


def test_missing_files_are_named(tmp_path):
    refused(lambda: open_path(tmp_path), tmp_path, "train-images-idx3-ubyte")
    save(tmp_path / "train-images-idx3-ubyte", idx_bytes(X))
    refused(lambda: open_path(tmp_path), "has no labels", "train-labels-idx1-ubyte")
    refused(lambda: open_path(tmp_path / "train-images-idx3-ubyte"), "the folder that holds both")


def test_counts_that_differ(tmp_path):
    refused(lambda: open_path(save_idx(tmp_path, "train", X, Y[:-1])), "20 samples but 19 targets")


def test_sizes_that_disagree_with_the_header(tmp_path):
    save_idx(tmp_path, "train", X, Y)
    for content in (idx_bytes(X)[:-1], idx_bytes(X) + b"!"):
        save(tmp_path / "train-images-idx3-ubyte", content)
        refused(lambda: open_path(tmp_path), f"{len(content) - 16} bytes", "400 bytes for shape (20, 4, 5)")


@pytest.mark.parametrize("length", [0, 3, 9])
def test_a_file_shorter_than_its_header(tmp_path, length):
    save_idx(tmp_path, "train", X, Y)
    save(tmp_path / "train-images-idx3-ubyte", idx_bytes(X)[:length])
    refused(lambda: open_path(tmp_path), f"truncated: {length} bytes")


@pytest.mark.parametrize("magic", [b"\1\0\x08\3", b"\0\0\x07\3", b"\0\0\x08\1", b"PK\3\4"])
def test_bad_magic(tmp_path, magic):
    save_idx(tmp_path, "train", X, Y)
    save(tmp_path / "train-images-idx3-ubyte", magic + idx_bytes(X)[4:])
    refused(lambda: open_path(tmp_path), "first four bytes are " + magic.hex(" ").upper())


def test_labels_in_place_of_images_and_the_reverse(tmp_path):
    save(tmp_path / "train-images-idx3-ubyte", idx_bytes(Y))
    save(tmp_path / "train-labels-idx1-ubyte", idx_bytes(X))
    refused(lambda: open_path(tmp_path), "00 00 08 01", "02 or more for images")
    save(tmp_path / "train-images-idx3-ubyte", idx_bytes(X))
    refused(lambda: open_path(tmp_path), "00 00 08 03", "01 for labels")


def test_truncated_or_damaged_gz(tmp_path):
    save_idx(tmp_path, "train", X, Y, gz=".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content in (whole[:-20], whole[:50], whole[:100] + b"????" + whole[104:]):
        file.write_bytes(content)
        refused(lambda: open_path(tmp_path), file, "cannot be read")


def test_an_empty_set(tmp_path):
    refused(lambda: open_path(save_idx(tmp_path, "train", X[:0], Y[:0])), "(0, 4, 5)", "at least one sample")


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_files_that_are_packed_or_not_whatever_they_are_called(tmp_path, gz):
    save_idx(tmp_path, "train", X, Y, gz=gz)
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        file.write_bytes(gzip.decompress(content) if gz else gzip.compress(content))
    data = open_path(tmp_path, validation=0.0)
    assert np.array_equal(features(data.train), X) and np.array_equal(targets(data, data.train), Y)


def save_emnist(folder, *names):
    folder.mkdir(exist_ok=True, parents=True)
    for i, name in enumerate(names):
        for part, x, y in (("train", X, Y), ("test", X2, Y2)):
            save(folder / f"{name}-{part}-images-idx3-ubyte.gz", idx_bytes(x + np.uint8(i)))
            save(folder / f"{name}-{part}-labels-idx1-ubyte.gz", idx_bytes(y))
    return folder


def test_the_names_of_emnist_and_of_several_sets_in_one_folder(tmp_path):
    data = open_path(save_emnist(tmp_path / "one", "emnist-letters"))
    assert np.array_equal(features(data.train), X) and np.array_equal(features(data.validation), X2)
    several = save_emnist(tmp_path / "more", "emnist-digits", "emnist-letters")
    words = "holds 2 IDX sets: emnist-digits, emnist-letters", f"name one: --data {several / 'emnist-digits'}"
    refused(lambda: open_path(several), *words)
    data = open_path(several / "emnist-letters")
    assert np.array_equal(features(data.train), X + np.uint8(1))
    assert np.array_equal(targets(data, data.validation), Y2)
    assert open_inputs(str(several / "emnist-letters"), (4, 5), (), "target").count == 6
    file = several / "emnist-letters-train-images-idx3-ubyte.gz"
    refused(lambda: open_path(file), "images or labels, not both", f"name the set: --data {several / 'emnist-letters'}")
    refused(lambda: open_path(several / "emnist-byclass"), "emnist-byclass", "no such file")


@pytest.mark.parametrize("inner", ["MNIST/raw", "gzip"])
def test_folders_within_folders(tmp_path, inner):
    save_idx(save_emnist(tmp_path / inner), "train", X, Y, gz=".gz")
    assert np.array_equal(features(open_path(tmp_path, validation=0.0).train), X)
    save_idx(save_emnist(tmp_path / inner / "../other"), "train", X, Y)
    refused(lambda: open_path(tmp_path), "holds 2 IDX sets", "other", inner)
    save_idx(tmp_path, "train", X + np.uint8(1), Y)
    assert np.array_equal(features(open_path(tmp_path, validation=0.0).train), X + np.uint8(1))


def test_each_file_in_a_folder_of_its_own_name(tmp_path):
    save_idx(tmp_path / "flat", "train", X, Y)
    for file in (tmp_path / "flat").iterdir():
        (tmp_path / "deep" / file.name).mkdir(parents=True)
        file.rename(tmp_path / "deep" / file.name / file.name)
    data = open_path(tmp_path / "deep", validation=0.0)
    assert np.array_equal(features(data.train), X) and np.array_equal(targets(data, data.train), Y)


def test_missing_labels_are_asked_for_by_name_with_what_is_there(tmp_path):
    save_emnist(tmp_path, "emnist-letters")
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte.gz").unlink()
    words = "emnist-letters-train-images-idx3-ubyte.gz has no labels", "needed: emnist-letters-train-labels-idx1-ubyte"
    refused(
        lambda: open_path(tmp_path), *words, "beside it: emnist-letters-test-images-idx3-ubyte.gz (IDX data, gzip'ed)"
    )
