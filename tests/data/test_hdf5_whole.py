"""HDF5 data of which a part is not there, is still being written, or lies in chunks: refused, told of, or read fast."""

import subprocess
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
from data_files import features, open_path, refused, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpipipe.data import hdf5

rng = np.random.default_rng(7)
X, Y = rng.normal(size=(60, 6)).astype("f4"), rng.integers(0, 3, 60)
WRITERS = {
    "is open for writing in another program": "h5py.File(sys.argv[1], 'r+')",
    "is open for writing, or was not closed": "h5py.File(sys.argv[1], 'r+', libver='latest')",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.h5"


def save(path, x=None, y=Y, **others):
    """A file with x or, where it is a function, with what it puts into the file."""
    path.unlink(missing_ok=True)  # a test may have it open still
    with h5py.File(path, "w") as file:
        for name, values in {"x": x, "y": y, **others}.items():
            if callable(values):
                values(file)
            elif values is not None:
                file[name] = values
    return path


def made(chunks, rows, name="x", shape=X.shape):
    """Makes a data set, and writes only the given rows."""

    def make(file):
        file.create_dataset(name, shape, "f4", chunks=chunks)[rows] = X[rows]

    return make


def virtual(*sources, name="x", rows=60):
    """Makes a virtual data set of sources (file, data set, first row, rows)."""

    def make(file):
        layout = h5py.VirtualLayout((rows, 6), "f4")
        for source, inside, first, count in sources:
            layout[first : first + count] = h5py.VirtualSource(source, inside, (count, 6), "f4")
        file.create_virtual_dataset(name, layout, fillvalue=0)

    return make


@contextmanager
def another_program(code, path):
    script = f"import h5py, sys; file = {code}; print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=-1, stdout=-1) as program:
        assert program.stdout.readline()
        yield
        program.stdin.close()


def test_virtual_data_sets_read_as_their_sources(path):
    save(path.with_name("a.h5"), X[:30], None, z=X[30:])
    save(path, virtual(("a.h5", "x", 0, 30), ("a.h5", "z", 30, 30)))
    data = open_path(path, validation=0.0)
    assert np.array_equal(features(data.train, np.float32), X) and data.notices == ()
    nested = save(path.with_name("b.h5"), virtual(("some.h5", "x", 0, 60)))
    assert np.array_equal(features(open_path(nested, validation=0.0).train, np.float32), X)
    within = save(path.with_name("c.h5"), virtual((".", "h", 0, 60)), h=X)
    assert np.array_equal(features(open_path(within, validation=0.0).train, np.float32), X)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([("a.h5", "x", 0, 30), ("gone.h5", "x", 30, 30)], ["some.h5 /x: its source gone.h5 is not there"]),
        ([("a.h5", "x", 0, 30), ("a.h5", "q", 30, 30)], ["a.h5 has no data set 'q'"]),
        ([("a.h5", "x", 0, 30), ("a.h5", "short", 30, 30)], ["/short has shape (20, 6), too small"]),
        ([("a.h5", "x", 0, 30), ("a.h5", "never", 30, 30)], ["a.h5 /never: was made, but nothing was ever written"]),
        ([("a.h5", "x", 0, 30), ("a.h5", "half", 30, 30)], ["a.h5 /half: 2 of its 3 chunks"]),
        ([("a.h5", "x", 0, 30)], ["some.h5 /x: only 180 of its 360 values have a source"]),
        ([("a.h5", "x", 0, 30), ("a.h5", "x", 20, 30)], ["only 300 of its 360 values"]),
        ([("v.h5", "x", 0, 60)], ["v.h5 /x: its source gone.h5 is not there"]),
    ],
)
def test_sources_that_are_gone_or_not_whole(path, sources, words):
    others = {"never": made(None, slice(0, 0), "never", (30, 6)), "half": made((10, 6), slice(0, 10), "half", (30, 6))}
    save(path.with_name("a.h5"), X[:30], None, short=X[:20], **others)
    save(path.with_name("v.h5"), virtual(("gone.h5", "x", 0, 60)))
    refused(lambda: open_path(save(path, virtual(*sources))), *words)
    save(path, X, x_test=virtual(*sources, name="x_test"), y_test=Y)
    refused(lambda: open_path(path), words[0].replace("/x:", "/x_test:" if "some.h5" in words[0] else "/x:"))


def test_gone_labels_are_no_labels(path):
    def make(file):
        layout = h5py.VirtualLayout(Y.shape, Y.dtype)
        layout[:] = h5py.VirtualSource("gone.h5", "y", Y.shape, Y.dtype)
        file.create_virtual_dataset("y", layout, fillvalue=0)

    refused(lambda: open_path(save(path, X, make)), "some.h5 /y: its source gone.h5 is not there")


def test_a_source_needs_only_what_is_taken_from_it(path):
    def part(rows):
        def make(file):
            layout = h5py.VirtualLayout((rows, 6), "f4")
            layout[:] = h5py.VirtualSource("a.h5", "x", (60, 6), "f4")[:rows]
            file.create_virtual_dataset("x", layout)

        return make

    save(path.with_name("a.h5"), made((10, 6), slice(0, 30)))
    assert open_path(save(path, part(30), Y[:30]), validation=0.0).train.count == 30
    refused(lambda: open_path(save(path, part(31), Y[:31])), "a.h5 /x: 1 of its 4 chunks", "at row 30")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.integers(1, 25), st.integers(1, 6), st.integers(0, 60), st.integers(0, 60))
def test_every_chunk_that_was_never_written_is_noticed(tmp_path, rows, columns, begin, end):
    path = save(tmp_path / "any.h5", made((rows, columns), slice(begin, end)))
    written = set(range(begin // rows, -(-end // rows))) if begin < end else set()
    first = next((row for row in range(-(-60 // rows)) if row not in written), None)
    if first is None:
        assert open_path(path, validation=0.0).train.count == 60
    else:
        refused(lambda: open_path(path), f"never written, the first of them at row {first * rows}")


def test_what_was_never_written_is_refused_and_what_seems_so_is_told(path):
    refused(lambda: open_path(save(path, made(None, slice(0, 0)))), "some.h5 /x: was made, but nothing was ever")
    half = open_path(save(path, made(None, slice(0, 30))))
    assert half.notices and "some.h5 /x: rows 30 to 59 seem to hold only 0.0" in half.notices[0]
    few = open_path(save(path, made(None, slice(0, 2))))
    assert "rows 2 to 59" in few.notices[0]
    labels = Y.copy()
    labels[29:] = np.where(np.arange(29, 60) < 30, 1, 0)
    assert "some.h5 /y: rows 30 to 59 seem to hold only 0" in open_path(save(path, X, labels)).notices[0]


@pytest.mark.parametrize("y", [Y, np.sort(Y), np.arange(60) % 20 == 7, np.arange(60) % 2])
def test_labels_as_they_come_are_told_nothing_of(path, y):
    assert open_path(save(path, X, y)).notices == ()


def test_external_storage(path):
    def make(file):
        file.create_dataset("x", X.shape, "f4", external=[(str(path.with_name("raw")), 8, h5py.h5f.UNLIMITED)])[:] = X

    save(path, make)
    assert np.array_equal(features(open_path(path, validation=0.0).train, np.float32), X)
    content = path.with_name("raw").read_bytes()
    path.with_name("raw").write_bytes(content[:-1])
    refused(lambda: open_path(path), "some.h5 /x", "raw, of which only 1447 of 1448 bytes are there")
    path.with_name("raw").unlink()
    refused(lambda: open_path(path), "raw, which is not there")


def test_groups_and_dead_links_are_named(path):
    soft, external = h5py.SoftLink("/q/x"), h5py.ExternalLink("gone.h5", "/x")
    refused(lambda: open_path(save(path, lambda file: file.create_group("x/data"))), "x (a group of data)")
    refused(lambda: open_path(save(path, soft)), "x (a link to /q/x, which cannot be opened)")
    refused(lambda: open_path(save(path, X, external)), "its y is a link to gone.h5:/x")
    refused(lambda: open_path(save(path, X, x_test=soft)), "its x_test is a link to /q/x")
    refused(lambda: open_path(save(path, X, test=external)), "its test/x is a link to gone.h5:/x")
    refused(
        lambda: open_path(save(path, None, None, train=lambda f: f.create_group("train/x"))), "train (a group of x)"
    )
    assert open_path(save(path, X, unrelated=external)).train.count
    save(path.with_name("there.h5"), X, None)
    assert open_path(save(path, h5py.ExternalLink("there.h5", "/x"))).train.count


@pytest.mark.parametrize("words", WRITERS)
def test_files_that_are_being_written(path, words):
    with h5py.File(path, "w", libver="latest" if "latest" in WRITERS[words] else None) as file:
        file["x"], file["y"] = X, Y
    outer = save(path.with_name("outer.h5"), virtual(("some.h5", "x", 0, 60)))
    with another_program(WRITERS[words], path):
        refused(lambda: open_path(path), "some.h5: is open for writing")
        refused(lambda: open_path(outer), "some.h5: is open for writing")
    assert open_path(path).train.count


def test_a_truncated_file_says_so(path):
    path.write_bytes(save(path, X).read_bytes()[:-100])
    refused(lambda: open_path(path), "some.h5: is truncated", "download it again")


@pytest.mark.parametrize("form", ["gzip", "plain", "virtual"])
def test_chunks_are_read_into_memory_or_through_a_cache_to_the_same_numbers(path, monkeypatch, form):
    x = rng.integers(0, 9, (500, 40)).astype("f4")

    def make(file):
        file.create_dataset("x", data=x, chunks=(50, 8), compression="gzip" if form != "plain" else None)

    def outer(file):
        layout = h5py.VirtualLayout(x.shape, "f4")
        layout[:] = h5py.VirtualSource("some.h5", "x", x.shape, "f4")
        file.create_virtual_dataset("x", layout)

    save(path, make, np.arange(500) % 3)
    if form == "virtual":
        path = save(path.with_name("outer.h5"), outer, np.arange(500) % 3)
    fast = open_path(path)
    assert isinstance(fast.train.source.x, np.ndarray) and fast.notices == ()
    monkeypatch.setattr(hdf5, "RESIDENT_SHARE", 1e-9)
    slow = open_path(path)
    assert isinstance(slow.train.source.x, h5py.Dataset)
    for one, other in ((fast.train, slow.train), (fast.validation, slow.validation)):
        assert np.array_equal(features(one, np.float32), features(other, np.float32))
    assert np.array_equal(targets(fast, fast.train), targets(slow, slow.train))
    told = " ".join(slow.notices)
    assert ("chunks of shape (50, 8)" in told and "h5repack -f /x:NONE -l /x:CONTI" in told) == (form != "plain")


def test_data_without_chunks_stay_on_disk(path):
    assert isinstance(open_path(save(path, X)).train.source.x, h5py.Dataset)


def test_a_filter_that_is_not_installed_is_named(path):
    def make(file):
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((10, 6))
        made.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(X.shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, made))[:] = X

    refused(lambda: open_path(save(path, make)), "some.h5 /x: is packed by the HDF5 filter 32001", "h5repack")
