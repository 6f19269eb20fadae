"""No byte of a checkpoint can change unnoticed, and what is no checkpoint is refused in one line."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpipipe.checkpoint import checkpoint_path, compare, describe, newest_good, open_checkpoint, verify
from mpipipe.errors import CheckpointError

from .making import FACTS, PIECES, facts_at, flip, names, write, write_steps


def refusal(path: Path) -> str:
    """The one line with which all ways to open a file refuse it."""
    texts = set()
    for way in (verify, lambda path: open_checkpoint(path).__enter__(), lambda path: describe(path, False)):
        with pytest.raises(CheckpointError) as caught:
            way(path)
        texts.add(str(caught.value))
    assert caught.value.status == 2
    text = texts.pop()
    assert not texts and "\n" not in text and text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_every_damage_is_noticed_and_none_hangs(tmp_path):
    path = write(tmp_path / "step-00000001.h5", facts_at(1), PIECES[:2], scaling={})
    command = [sys.executable, str(Path(__file__).with_name("flipping.py")), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail(f"verify has not come back from: {path.with_suffix('.at').read_text()}")
    assert done.returncode == 0, (done.stderr[-2000:], path.with_suffix(".at").read_text())
    result = json.loads(done.stdout)
    assert result["missed"] == [] and result["count"] > path.stat().st_size


def test_what_is_damaged_says_so(tmp_path):
    path = write(tmp_path / "step-00000001.h5")
    flip(path, path.stat().st_size // 2, 3)
    text = refusal(path)
    assert text.startswith("damaged or cut short (") and "use an older checkpoint; --resume without a name" in text


def test_the_same_damage_is_noticed_in_what_is_compared(tmp_path):
    good, bad = (write(tmp_path / name / "step-00000001.h5") for name in "ab")
    flip(bad, 3000)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(CheckpointError, match="damaged"):
            compare(*pair)


@pytest.mark.parametrize("content", [b"", b"mpipipe", b"x" * 5000, b"\x89HDF\r\n\x1a\n" + bytes(3000)])
def test_what_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "some.h5"
    path.write_bytes(content)
    assert refusal(path) == "not a checkpoint of mpipipe; needed: a file that train wrote"


@pytest.mark.parametrize("block", [0, 512])
def test_a_foreign_hdf5_file(tmp_path, block):
    path = tmp_path / "some.h5"
    with h5py.File(path, "w", userblock_size=block) as file:
        file["layers/000_linear/weight"] = np.zeros((3, 4), "f4")
    assert refusal(path).startswith("not a checkpoint of mpipipe")


def test_a_folder_and_nothing(tmp_path):
    assert refusal(tmp_path) == "cannot be read (Is a directory); needed: a checkpoint"
    assert refusal(tmp_path / "nothing.h5") == "cannot be read (No such file or directory); needed: a checkpoint"


def test_a_later_layout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mpipipe.checkpoint.write.VERSION", 2)
    path = write(tmp_path / "step-00000001.h5", FACTS)
    with pytest.raises(CheckpointError, match=r"layout version 2; needed: version 1") as caught, open_checkpoint(path):
        pass
    assert "\n" not in str(caught.value)


def test_the_newest_good_one(tmp_path):
    paths = write_steps(tmp_path, 9, 10, 100, 123456789)
    assert [path.name for path in paths][2:] == ["step-00000100.h5", "step-123456789.h5"]
    (tmp_path / "step-00000200.h5.bak").write_bytes(paths[0].read_bytes())
    (tmp_path / "step-300.h5").touch()
    (tmp_path / "step-00000400.tmp").touch()
    assert newest_good(tmp_path) == (paths[3], [])
    paths[3].write_bytes(paths[3].read_bytes()[:700])
    flip(paths[2], 100)
    found, passed = newest_good(tmp_path)
    assert found == paths[1] and len(passed) == 2
    for sentence, path in zip(passed, (paths[3], paths[2]), strict=True):
        assert sentence.startswith(f"{path}: damaged or cut short") and "\n" not in sentence


def test_no_good_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint; needed: one that train wrote; start without --resume"):
        newest_good(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        newest_good(tmp_path / "nowhere")
    for path in write_steps(tmp_path, 1, 2):
        flip(path, 600)
    with pytest.raises(CheckpointError, match=r"no good checkpoint \(.*step-00000002.h5: damaged.*step-00000001") as e:
        newest_good(tmp_path)
    assert "\n" not in str(e.value)
    assert checkpoint_path(tmp_path, 2).name in names(tmp_path)
