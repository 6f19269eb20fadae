"""Files that are not what their names say: read where that is sure, else one line that says what they are."""

import gzip
import os
import zipfile

import h5py
import numpy as np
import pytest
from data_files import features, idx_bytes, open_path, refused, save_idx, targets
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.data import open_inputs
from mpipipe.data.contents import BINARY, EMPTY, HDF5, IDX, TEXT, kind_of

rng = np.random.default_rng(11)
X, Y = rng.integers(0, 256, (20, 4, 5), np.uint8), rng.integers(0, 10, 20, np.uint8)
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"
KINDS = {
    PAGE: "an HTML page",
    b"version https://git-lfs.github.com/spec/v1\n": "Git LFS",
    b"%PDF-1.7\n": "a PDF document",
    b"BZh91AY": "bzip2'ed",
    b"\x80\x04\x95": "a Python pickle",
    b"": "empty",
    gzip.compress(PAGE): "an HTML page, gzip'ed",
    b"\x1f\x8b\x08": "gzip'ed data, damaged",
    b"\x01\x02\x00\xff": "binary data of no known format",
}


def save_hdf5(path, **options):
    with h5py.File(path, "w", **options) as file:
        file["x"], file["y"] = X, Y
    return path


def save_npz(path):
    with path.open("wb") as file:
        np.savez(file, x=X, y=Y)
    return path


@given(st.binary(max_size=600))
def test_any_content_is_something(content):
    assert (kind_of(content) == EMPTY) == (not content)


@given(st.text(st.characters(exclude_characters="\0<", exclude_categories=["Cs"]), min_size=1, max_size=3000))
def test_what_utf8_can_be_read_from_is_a_text(text):
    content = ("a text: " + text).encode()
    assert kind_of(content) == TEXT and kind_of(content + b"\0") in (BINARY, TEXT)


@pytest.mark.parametrize("name", ["some", "some.npz", "some.csv", "some.dat"])
def test_hdf5_and_npz_and_idx_are_read_whatever_their_names(tmp_path, name):
    for save in (save_hdf5, lambda path: save_hdf5(path, userblock_size=1024), save_npz):
        (tmp_path / name).unlink(missing_ok=True)
        data = open_path(save(tmp_path / name), validation=0.0)
        assert np.array_equal(features(data.train), X) and np.array_equal(targets(data, data.train), Y)
    (tmp_path / name).unlink()
    for content in (idx_bytes(X), gzip.compress(idx_bytes(X))):
        (tmp_path / name).write_bytes(content)
        assert np.array_equal(features(open_inputs(str(tmp_path / name), (4, 5), (), "")), X)
    assert kind_of(idx_bytes(X)) == IDX and kind_of(bytes(512) + b"\x89HDF\r\n\x1a\n") == HDF5


@pytest.mark.parametrize("content", KINDS)
@pytest.mark.parametrize("name", ["some", "some.npz", "some.h5", "some.dat"])
def test_other_files_are_refused_by_what_they_are(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    save_npz(tmp_path / "beside.npz")
    refused(lambda: open_path(tmp_path / name), f"{name}: ", KINDS[content], "beside it: beside.npz (a zip archive)")


def test_pages_and_documents_are_no_tables(tmp_path):
    for content in (PAGE, b"%PDF-1.7\n", b"PAR1"):
        (tmp_path / "some.csv").write_bytes(content)
        refused(lambda: open_path(tmp_path / "some.csv"), "some.csv: is ", "needed: .csv data")


def test_what_is_no_file_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    refused(lambda: open_path(tmp_path / "pipe.csv"), "pipe.csv: neither a file nor a folder")


def test_gzip_of_what_cannot_be_read_packed(tmp_path):
    (tmp_path / "some.h5").write_bytes(gzip.compress(save_hdf5(tmp_path / "a").read_bytes()))
    refused(lambda: open_path(tmp_path / "some.h5"), "is HDF5 data, gzip'ed", "unpack it by gunzip")


def test_zip_archives_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as file:
        file.writestr("data.csv", "a,target\n1,2\n")
    refused(lambda: open_path(tmp_path / "some.npz"), "a zip archive of 'data.csv', without arrays", "unpack it")
    np.savez(tmp_path / "objects.npz", x=np.array([[1, 2], None], dtype=object), y=Y[:2])
    refused(lambda: open_path(tmp_path / "objects.npz"), "array x cannot be read: it holds Python objects")
    np.save(tmp_path / "bare.npy", X)
    refused(lambda: open_path(tmp_path / "bare.npy"), "bare.npy: a file of unknown format: a NumPy array")


@pytest.mark.parametrize("name", ["book", "book.md", "book.csv", "book.tar.gz", "enwik8", "BOOK.LOG"])
def test_any_file_is_a_text_of_bytes_where_that_is_asked_for(tmp_path, name):
    content = b"to be, or not\xff\x00 to be\n" * 3
    for stored in (content, gzip.compress(content)):
        (tmp_path / name).write_bytes(stored)
        data = open_path(tmp_path / name, validation=0.0, tokens="bytes", context=len(content) - 1)
        assert features(data.train)[0].astype(np.uint8).tobytes() == content[:-1] and data.notices == ()
    (tmp_path / name).write_bytes(b"to be")
    known = tuple("\n to be")
    assert open_path(tmp_path / name, validation=0.0, classes=known, trained="characters").train.count == 1
    assert open_path("digits", tokens="bytes").tokens == ""


def test_texts_that_are_no_texts_are_told_of(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(PAGE)
    assert "book.txt: an HTML page by its first bytes" in open_path(path).notices[0]
    path.write_bytes(gzip.compress(b"to be or not to be"))
    data = open_path(path)
    assert data.notices == () and "t" in data.classes
    path.with_suffix(".txt.gz").write_bytes(b"to be or not to be")
    assert open_path(path.with_suffix(".txt.gz")).classes == data.classes
    path.write_bytes("to be".encode("utf-16"))
    refused(lambda: open_path(path), "it is text in UTF-16", 'data.tokens="bytes"')
    (tmp_path / "README").write_text("to be")
    refused(lambda: open_path(tmp_path / "README"), "README: a file of unknown format: text", 'set data.tokens="bytes"')


def test_a_folder_without_a_set_says_what_is_in_it(tmp_path):
    (tmp_path / "gzip.zip").write_bytes(b"PK\3\4")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "book.txt").write_text("to be")
    words = "a folder without IDX training images", "gzip.zip (a zip archive)", "raw/book.txt (text)"
    refused(lambda: open_path(tmp_path), *words)
    save_idx(tmp_path, "train", X, Y)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(PAGE)
    refused(lambda: open_path(tmp_path), "train-images-idx3-ubyte: its first four bytes are 0A 3C 21 44: an HTML page")
