"""A folder of checkpoints: which are dropped, and what a writer leaves that comes to a bad end."""

import numpy as np
import pytest

from mpipipe.checkpoint import Writer, checkpoint_path, drop_old, drop_temporary, list_checkpoints, verify
from mpipipe.errors import CheckpointError

from .making import FACTS, PIECES, SCALING, arrays_of, names, write_steps


def touch(folder, *steps):
    for step in steps:
        checkpoint_path(folder, step).touch()


def test_they_are_listed_by_step(tmp_path):
    touch(tmp_path, 5, 123456789, 99999999, 10)
    for name in ("step-7.h5", "step-00000008.tmp", "step-00000008.h5~", "other.h5"):
        (tmp_path / name).touch()
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, step) for step in (5, 10, 99999999, 123456789)]
    assert list_checkpoints(tmp_path / "nowhere") == []


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 9])
def test_the_last_are_kept(tmp_path, keep):
    steps = [2, 30, 4, 100000001]
    touch(tmp_path, *steps)
    (tmp_path / "notes.h5").touch()
    drop_old(tmp_path, keep)
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, step) for step in sorted(steps)[-keep:]]
    assert (tmp_path / "notes.h5").exists()


def test_only_temporary_files_are_dropped(tmp_path):
    touch(tmp_path, 1, 2)
    for name in ("step-00000003.tmp", "step-00000001.tmp", "mine.tmp"):
        (tmp_path / name).touch()
    drop_temporary(tmp_path)
    assert names(tmp_path) == ["mine.tmp", "step-00000001.h5", "step-00000002.h5"]
    drop_temporary(tmp_path / "nowhere")


def unready(folder):
    """A writer with some of its pieces."""
    writer = Writer(checkpoint_path(folder, 2), FACTS, SCALING, PIECES)
    writer.write(PIECES[0], arrays_of()[0])
    return writer


def assert_only_the_old_one(folder):
    assert names(folder) == ["step-00000001.h5"]
    verify(checkpoint_path(folder, 1))


def test_an_abandoned_writer_leaves_the_old_ones(tmp_path):
    write_steps(tmp_path, 1)
    unready(tmp_path).abandon()
    assert_only_the_old_one(tmp_path)


def test_a_piece_that_cannot_be_written(tmp_path):
    write_steps(tmp_path, 1)
    writer = unready(tmp_path)
    with pytest.raises(CheckpointError, match=r"step-00000002.h5: cannot be written .*saved before") as caught:
        writer.write(PIECES[0], np.zeros((3, 4), np.float32))  # for the second time
    assert "\n" not in str(caught.value)
    assert_only_the_old_one(tmp_path)


@pytest.mark.parametrize("place", ["_seal", "_sync_folder"])
def test_a_finish_that_fails(tmp_path, monkeypatch, place):
    def fail(path):
        raise OSError(5, "Input/output error")

    write_steps(tmp_path, 1)
    writer = unready(tmp_path)
    monkeypatch.setattr(f"mpipipe.checkpoint.write.{place}", fail)
    with pytest.raises(CheckpointError, match=r"step-00000002.h5: cannot be written \(.*Input/output error"):
        writer.finish()
    assert "step-00000002.tmp" not in names(tmp_path)
    verify(checkpoint_path(tmp_path, 1))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot be written \(.*No such file or directory") as caught:
        Writer(tmp_path / "nowhere" / "step-00000002.h5", FACTS, SCALING, PIECES)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_no_room_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    write_steps(tmp_path, 1)
    full = type("Usage", (), {"free": 70_000, "total": 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with pytest.raises(CheckpointError, match=r"70,000 bytes are free on the disk; needed: about 71,[0-9]{3} bytes"):
        Writer(checkpoint_path(tmp_path, 2), FACTS, SCALING, PIECES)
    assert_only_the_old_one(tmp_path)
