import time
from datetime import datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.errors import UserError
from mpipipe.records import load_json
from mpipipe.report import (
    RunFolder,
    Summary,
    drop_unused,
    existing_folder,
    latest_folder,
    new_folder,
    write_json,
    write_text,
)
from mpipipe.report.folder import _stem
from mpipipe.report.summary import STOPPED

SUMMARY = Summary(
    "digits", 10, 2, 1280, 0.25, None, None, None, 1.5, 853.3, 3, 2, "1f1b", 0.2, "step-000010.h5", "finished"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stamp(monkeypatch, moment=datetime(2025, 1, 2, 3, 4, 5)):
    monkeypatch.setattr(time, "gmtime", moment.timetuple)


def checkpoint(folder: RunFolder) -> RunFolder:
    folder.checkpoints.mkdir(parents=True)
    (folder.checkpoints / "step-000001.h5").touch()
    return folder


def test_a_run_gets_a_folder_of_its_own(monkeypatch):
    stamp(monkeypatch)
    paths = [new_folder(None, "digits").path for _ in range(3)]
    assert paths == [Path("results", f"digits-20250102-030405Z{end}") for end in ("", "-2", "-3")]
    assert all(path.is_dir() and not list(path.iterdir()) for path in paths)


def test_out_is_the_folder_itself(here):
    (here / "notes.txt").touch()
    assert new_folder(str(here), "digits").path == here
    assert new_folder("a/b/c", "digits").path == Path("a/b/c")
    assert sorted(path.name for path in here.iterdir()) == ["a", "notes.txt"]


@pytest.mark.parametrize("name", ["job.toml", "metrics.csv", "checkpoints"])
def test_a_folder_with_a_run_is_refused(name):
    Path("old").mkdir()
    Path("old", name).touch()
    with pytest.raises(UserError, match=r"old: holds a run already.*--resume, or another --out"):
        new_folder("old", "digits")


def test_a_file_in_the_way_is_named_and_nothing_is_left(here):
    Path("file").touch()
    with pytest.raises(UserError, match=r"file: cannot be written"):
        new_folder("file", "digits")
    with pytest.raises(UserError, match=r"cannot be written"):
        new_folder("file/deeper/still", "digits")
    Path("results").touch()
    with pytest.raises(UserError, match=r"results"):
        new_folder(None, "digits")
    assert sorted(path.name for path in here.iterdir()) == ["file", "results"]


def test_a_folder_that_cannot_be_written_is_not_left_behind(here, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UserError, match=r"a/b: cannot be written \(Permission denied\)"):
        new_folder("a/b", "digits")
    assert list(here.iterdir()) == []


def test_existing_folder():
    with pytest.raises(UserError, match="no such folder"):
        existing_folder("nowhere")
    Path("file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        existing_folder("file")
    Path("empty").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        existing_folder(Path("empty"))
    Path("empty", "job.toml").touch()
    assert existing_folder("empty") == RunFolder(Path("empty"))


def test_latest_folder_is_the_newest_of_this_job_with_a_checkpoint():
    assert latest_folder("digits") is None
    for name in ("digits-20250101-000000", "digits-20250103-000000", "digits-20250103-000000-2"):
        checkpoint(RunFolder(Path("results", name)))
    newest = checkpoint(RunFolder(Path("results", "digits-20250103-000000-10")))
    checkpoint(RunFolder(Path("results", "digits-deep-20250105-000000Z")))
    Path("results", "digits-20250106-000000").mkdir()
    unfinished = RunFolder(Path("results", "digits-20250107-000000"))
    unfinished.checkpoints.mkdir(parents=True)
    (unfinished.checkpoints / ".step-000001.h5").touch()
    assert latest_folder("digits") == newest
    assert latest_folder("other") is None


def test_the_latest_folder_is_the_same_in_every_zone_and_on_the_day_when_clocks_are_put_back(monkeypatch):
    folders = []
    for zone, hour, minute in (("Europe/Berlin", 0, 30), ("Asia/Tokyo", 1, 10), ("America/New_York", 1, 20)):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        stamp(monkeypatch, datetime(2026, 10, 25, hour, minute))
        folders.append(checkpoint(new_folder(None, "digits")))
        assert latest_folder("digits") == folders[-1]
    monkeypatch.undo()
    time.tzset()


def test_a_folder_named_by_local_time_is_of_an_older_version():
    checkpoint(RunFolder(Path("results", "digits-20250102-110000")))
    newer = checkpoint(RunFolder(Path("results", "digits-20250102-030000Z")))
    assert latest_folder("digits") == newer


def test_runs_that_begin_in_the_same_moment_get_folders_of_their_own(monkeypatch):
    stamp(monkeypatch)
    begin, paths = Barrier(8), []

    def run():
        begin.wait()
        paths.append(new_folder(None, "digits").path)

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 8


@pytest.mark.parametrize("out", [None, "a/b/c"])
def test_what_was_made_for_a_run_goes_while_nothing_is_in_it(here, out):
    folder = new_folder(out, "digits")
    folder.job.touch()
    drop_unused(folder)
    assert folder.holds_run
    folder.job.unlink()
    drop_unused(folder)
    assert list(here.iterdir()) == []
    drop_unused(new_folder(str(here), "digits"))
    assert here.is_dir()


@given(st.text())
def test_a_job_of_any_name_stays_inside_results(name):
    path = Path("results", _stem(name) + "-1")
    assert path.parent == Path("results")
    assert path.name not in ("", ".", "..") and not path.name.startswith(".")


def test_files_are_written_whole():
    folder = new_folder("run", "digits")
    write_text(folder.job, 'name = "ä"\n')
    write_json(folder.summary, SUMMARY)
    assert folder.job.read_text(encoding="utf-8") == 'name = "ä"\n'
    assert load_json(Summary, folder.summary) == SUMMARY
    assert SUMMARY.stopped in STOPPED
    assert sorted(path.name for path in folder.path.iterdir()) == ["job.toml", "summary.json"]


def test_a_failed_write_keeps_what_was_there():
    folder = new_folder("run", "digits")
    write_json(folder.summary, SUMMARY)
    with pytest.raises(TypeError):
        write_json(folder.summary, object())
    assert load_json(Summary, folder.summary) == SUMMARY
    assert [path.name for path in folder.path.iterdir()] == ["summary.json"]
    with pytest.raises(UserError, match=r"gone.*cannot be written"):
        write_text(Path("gone", "job.toml"), "")
