"""The timeline command: tables, a picture, a trace; and what it refuses."""

import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from mpipipe.report.timeline import read_timeline

from .running import newest


def test_tables_a_picture_and_a_trace(desk, trained):
    shutil.copytree(trained, desk.folder / "run")
    out = desk.does("timeline", "run", "--trace", "t.json")
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["stage", "rank"] and lines[3].split()[:2] == ["0", "0"]
    assert "bubble: " in out and "drawn, step 4: run/timeline.svg" in out and "the median of 2 steps" in out
    assert ElementTree.parse(desk.folder / "run/timeline.svg").getroot().tag.endswith("svg")
    events = json.loads((desk.folder / "t.json").read_text())["traceEvents"]
    assert {"measured F0", "predicted W3"} <= {event["name"] for event in events}
    out = desk.does("timeline", "run", "--step", 2, "--svg", "s.svg")
    assert "drawn, step 2: s.svg" in out and "in one step" in out
    assert "measured, step 2" in (desk.folder / "s.svg").read_text()


def test_training_ends_with_the_bubble(desk):
    out = desk.does("train", "tiny.toml", "--out", "run")
    line = next(line for line in out.splitlines() if line.startswith("bubble: "))
    assert line.endswith(" predicted; more: python -m mpipipe timeline run") and "% measured, " in line


def test_a_run_gone_on_with_replaces_the_timeline(desk):
    run = desk.train("run", "run.stop_after=2", "train.steps=4")
    assert list(read_timeline(run / "timeline.npz").steps) == [1, 2]
    desk.does("train", "--resume", newest(run), "--quiet")
    assert list(read_timeline(run / "timeline.npz").steps) == [3, 4]


@pytest.fixture
def there(desk, trained):
    shutil.copytree(trained, desk.folder / "run")
    return desk.folder / "run" / "timeline.npz"


def test_what_is_no_run(desk, trained):
    assert desk.refuses("timeline", "nothing") == "nothing: no such folder; needed: the folder of an earlier run"
    assert desk.refuses("timeline", "tiny.toml").startswith("tiny.toml: is not a folder")
    (desk.folder / "empty").mkdir()
    assert desk.refuses("timeline", "empty").startswith("empty: holds no run")


def test_a_run_without_times(desk, there):
    there.unlink()
    assert desk.refuses("timeline", "run").startswith("run/timeline.npz: no timeline is there; needed: ")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"text\n"])
def test_a_damaged_one(desk, there, damage):
    there.write_bytes(damage + there.read_bytes()[400:] if damage else b"")
    assert desk.refuses("timeline", "run").startswith("run/timeline.npz: damaged (")


def test_times_of_another_plan(desk, there):
    with np.load(there) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(there, **{name: array[:, :5] if name != "head" else array for name, array in arrays.items()})
    assert "damaged" in desk.refuses("timeline", "run", "--svg", "s.svg")


@pytest.mark.parametrize("step", [0, 3, 999999])
def test_a_step_that_was_not_kept(desk, there, step):
    error = f"--step: {step}; needed: a step whose times were kept; these are 1, 2, 4"
    assert desk.refuses("timeline", "run", "--step", step) == error


def test_a_step_that_is_none(desk, there):
    assert desk.refuses("timeline", "run", "--step", "last").startswith("--step: 'last'; needed: a whole number")


def test_where_nothing_can_be_written(desk, there):
    assert "cannot be written" in desk.refuses("timeline", "run", "--svg", "nowhere/s.svg")
    assert "cannot be written" in desk.refuses("timeline", "run", "--svg", "tiny.toml/s.svg")
