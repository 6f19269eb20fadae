"""What is written is read back, bit for bit, and stands in the file where layout.py says."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from needs import missing

from mpipipe.checkpoint import (
    Facts,
    Piece,
    Position,
    Writer,
    checkpoint_path,
    describe,
    open_checkpoint,
    pieces,
    verify,
)
from mpipipe.checkpoint import layout as described
from mpipipe.errors import CheckpointError
from mpipipe.job import job_from_text
from mpipipe.layers import STATE, build_model
from mpipipe.records import to_plain

from .making import DATA, FACTS, PIECES, SCALING, arrays_of, bits, names, write

SHAPES = st.lists(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), min_size=1, max_size=4)
LISTS = {"/layers/000_linear/bias", "/layers/000_linear/weight", "/layers/002_residual/1_linear/weight"}
STATES = {f"/optimizer{place.removeprefix('/layers')}/velocity" for place in LISTS}
PLACES = LISTS | STATES | {"/scaling/factor", "/scaling/shift"}
ATTRIBUTES = "format, version, step, epoch, offset, seed, random_keys, job, plan, versions, data"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("checkpoints") / "step-00000007.h5")


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shapes=SHAPES)
def test_every_bit_comes_back(tmp_path_factory, data, shapes):
    every = [Piece(i, f"{i:03d}_linear", "weight", "", shape) for i, shape in enumerate(shapes)]
    # any 32 bits: NaN with every payload, infinities, denormals, both zeros
    arrays = [data.draw(hnp.arrays(np.uint32, shape)).view(np.float32) for shape in shapes]
    scaling = {"shift": data.draw(hnp.arrays(np.float64, shapes[0])), "factor": np.array(data.draw(st.floats()))}
    written = write(tmp_path_factory.mktemp("any") / "step-00000001.h5", FACTS, every, arrays, scaling)
    with open_checkpoint(written) as checkpoint:
        assert checkpoint.shapes == {piece.place: piece.shape for piece in every}
        for piece, array in zip(every, arrays, strict=True):
            read = checkpoint.read(piece)
            assert read.dtype == np.float32 and read.shape == array.shape and bits(read) == bits(array)
        for name, array in checkpoint.scaling().items():
            assert array.dtype == np.float64 and array.shape == scaling[name].shape
            assert bits(array) == bits(scaling[name])


@settings(max_examples=15, deadline=None)
@given(
    step=st.integers(0, 10**9),
    seed=st.integers(0, 2**62),
    job=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_facts_come_back(tmp_path_factory, step, seed, job):
    facts = Facts(Position(step, 3, 4), seed, job, "{}", "{}", replace(DATA, classes=(job, "b")))
    path = write(tmp_path_factory.mktemp("facts") / "step-00000001.h5", facts)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.facts == facts and checkpoint.path == path


def test_a_long_job_and_plan_come_back(tmp_path):
    # HDF5 keeps small attributes in 64 KiB
    facts = replace(FACTS, job="# long\n" * 30_000, plan=json.dumps(list(range(40_000))))
    with open_checkpoint(write(tmp_path / "step-00000001.h5", facts)) as checkpoint:
        assert checkpoint.facts == facts


def test_a_checkpoint_is_given_only_to_whom_it_fits(path):
    with open_checkpoint(path) as checkpoint:
        with pytest.raises(CheckpointError, match=r"no /optimizer/000_linear/weight/mean; needed: the state"):
            checkpoint.read(replace(PIECES[0], state="mean"))
        with pytest.raises(CheckpointError, match=r"/layers/000_linear/bias has shape \(4,\); needed: shape \(5,\)"):
            checkpoint.read(replace(PIECES[2], shape=(5,)))


def test_places_and_attributes(path):
    documented = " ".join((described.__doc__ or "").split())
    assert f"attributes: {ATTRIBUTES}" in documented
    with h5py.File(path) as file:
        found = []
        file.visititems(lambda name, item: found.append(f"/{name}") if isinstance(item, h5py.Dataset) else None)
        assert set(found) == PLACES
        for place in found:
            assert file[place].attrs["sha256"] == hashlib.sha256(bits(file[place][...])).hexdigest(), place
        assert set(file.attrs) == set(ATTRIBUTES.split(", "))
        assert file.attrs["format"] == "mpipipe checkpoint" and file.attrs["version"] == 1
        assert (file.attrs["step"], file.attrs["epoch"], file.attrs["offset"], file.attrs["seed"]) == (7, 2, 30, 5)
        assert file.attrs["job"] == FACTS.job and json.loads(file.attrs["data"])["classes"] == ["cat", "dög"]
        assert "Philox" in file.attrs["random_keys"] and "(seed, 0, layer" in file.attrs["random_keys"]


def test_the_file_begins_with_its_digest_as_text(path):
    content = path.read_bytes()
    sha256 = hashlib.sha256(content[512:]).hexdigest()
    assert content[:512] == f"mpipipe checkpoint 1\nsha256 {sha256}\n".encode().ljust(512, b"\0")
    assert content[512:516] == b"\x89HDF"


def test_names_say_nothing_of_ranks_and_states_follow_their_weight():
    text = """
        train.steps = 1
        model.layers = [{ kind = "linear", outputs = 4 }, { kind = "relu" }, { kind = "residual", layers = [
            { kind = "layernorm" }, { kind = "linear", outputs = 4, bias = false } ] }]
    """
    model = build_model(job_from_text(text, "here").model, (3,))
    for optimizer, states in STATE.items():
        every = pieces(model, optimizer)
        weights = [piece for piece in every if not piece.state]
        assert [piece.place for piece in weights] == [
            "/layers/000_linear/weight",
            "/layers/000_linear/bias",
            "/layers/002_residual/0_layernorm/gain",
            "/layers/002_residual/0_layernorm/bias",
            "/layers/002_residual/1_linear/weight",
        ]
        assert len(every) == len(weights) * (1 + len(states))
        for i, piece in enumerate(every):
            weight = weights[i // (1 + len(states))]
            assert (piece.layer, piece.path, piece.shape) == (weight.layer, weight.path, weight.shape)
            assert piece.state == ("", *states)[i % (1 + len(states))]


def test_writing_replaces_what_stood_there_and_leaves_nothing_else(tmp_path):
    path = checkpoint_path(tmp_path, 3)
    assert path.name == "step-00000003.h5"
    write(path)
    (tmp_path / "step-00000003.tmp").write_bytes(b"of a run that was killed")
    others = arrays_of(seed=1)
    write(path, arrays=others)
    assert names(tmp_path) == ["step-00000003.h5"]
    with open_checkpoint(path) as checkpoint:
        assert bits(checkpoint.read(PIECES[0])) == bits(others[0])


def test_it_is_synced_before_it_has_its_name(tmp_path, monkeypatch):
    done, replace_ = [], Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_ino))
    monkeypatch.setattr(Path, "replace", lambda path, to: done.append("renamed") or replace_(path, to))
    path = write(tmp_path / "step-00000003.h5")
    assert done == [path.stat().st_ino, "renamed", tmp_path.stat().st_ino]
    verify(path)


def test_until_it_is_finished_it_is_not_there(tmp_path):
    writer = Writer(tmp_path / "step-00000003.h5", FACTS, SCALING, PIECES)
    writer.write(PIECES[0], arrays_of()[0])
    assert names(tmp_path) == ["step-00000003.tmp"]
    writer.abandon()
    assert names(tmp_path) == []
    writer.abandon()


def test_looking_changes_no_byte(path):
    before = path.read_bytes()
    verify(path)
    describe(path, with_stats=True)
    assert path.read_bytes() == before


def tool(name: str) -> str:
    """Debian's tool of that name; a test that cannot have it fails under CI and is skipped, loudly, elsewhere."""
    found = shutil.which(name)
    if found is None:
        missing(f"the layout by HDF5's own tools: no {name}; on Debian: apt-get install hdf5-tools")
    return found


def test_h5ls_lists_it(path):
    lines = subprocess.run([tool("h5ls"), "-r", path], capture_output=True, text=True, check=True).stdout.splitlines()
    shapes = {place: rest for place, kind, rest in (line.split(maxsplit=2) for line in lines if "Dataset" in line)}
    assert set(shapes) == PLACES
    assert shapes["/layers/000_linear/weight"] == "{3, 4}" and shapes["/scaling/factor"] == "{SCALAR}"


def test_h5dump_shows_its_attributes(path):
    done = subprocess.run([tool("h5dump"), "-H", path], capture_output=True, text=True, check=True)
    assert not done.stderr
    for name in ATTRIBUTES.split(", "):
        assert f'ATTRIBUTE "{name}"' in done.stdout
    assert done.stdout.count('ATTRIBUTE "sha256"') == len(PLACES)
    whole = subprocess.run([tool("h5dump"), "-a", "/step", path], capture_output=True, text=True, check=True)
    assert "(0): 7" in whole.stdout


def test_what_is_said_of_a_text_comes_back_and_older_files_say_nothing(tmp_path, monkeypatch):
    classes = ("\0", "\n", "\r", " ", '"', "é", "☃", "\U0001f600", *map(chr, range(0x4E00, 0x8E00)))
    facts = replace(FACTS, data=replace(DATA, classes=classes, columns=(), tokens="characters"))
    with open_checkpoint(write(tmp_path / "step-00000001.h5", facts)) as checkpoint:
        assert checkpoint.facts == facts
    plain = to_plain(DATA)
    del plain["tokens"]
    monkeypatch.setattr("mpipipe.checkpoint.write.to_plain", lambda data: plain)
    with open_checkpoint(write(tmp_path / "step-00000002.h5")) as checkpoint:
        assert checkpoint.facts.data == DATA and not DATA.tokens
