"""A run's folder: one process at a time, found by its name, refused before anything is measured, whole in the end."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from .running import JOB, checkpoints, environment, metrics, newest, settings, summary, tree


def test_the_folder_of_a_run_stands_for_its_newest_checkpoint(desk, trained):
    for arguments in (("--resume", "run"), ("run/", "--resume"), ("tiny.toml", "--resume", "run")):
        run = shutil.copytree(trained, desk.folder / "run")
        desk.does("train", *arguments, "--quiet", *settings("train.steps=5"))
        assert checkpoints(run)[-1] == "step-00000005.h5"
        shutil.rmtree(run)


def test_the_folder_of_a_run_and_another_for_the_results(desk, trained):
    before = tree(trained)
    desk.does("train", "--resume", trained, "--out", "other", "--quiet", *settings("train.steps=5"))
    assert tree(trained) == before
    assert checkpoints(desk.folder / "other") == ["step-00000005.h5"]


def test_a_preset_stays_a_preset_beside_a_folder_of_its_name(desk):
    (desk.folder / "digits").mkdir()
    text = desk.refuses("train", "--resume", "digits")
    assert text.startswith("results: no run of job 'digits' with a checkpoint")


REFUSED = [
    (("train", "tiny.toml", "--out", "run"), "run: holds a run already"),
    (("train", "tiny.toml", "--out", "tiny.toml"), "tiny.toml: cannot be written ("),
    (("train", "tiny.toml", "--out", "new", "--data", "nothing.npz"), "data: no such file"),
    (("train", "tiny.toml", "--data", "nothing.npz"), "data: no such file"),
    (("train", "tiny.toml", "--data", "tiny.toml"), "tiny.toml: a file of unknown format"),
    (("train", "wide.toml", "--resume", "run"), "run/checkpoints/step-00000004.h5: another model"),
    (("train", "--resume", "run", "--data", "nothing.npz"), "data: no such file"),
    (("train", "--resume", "nothing.h5", "--out", "new"), "nothing.h5: cannot be read"),
    (("train", "--resume", "--out", "nothing"), "nothing: no such folder"),
    (("evaluate", "nothing.h5"), "nothing.h5: cannot be read"),
    (("probe", "tiny.toml", "--data", "nothing.npz"), "data: no such file"),
    (("probe", "tiny.toml", "--save", "nowhere/hosts.json"), "nowhere/hosts.json: cannot be written ("),
    (("plan", "tiny.toml", "--data", "nothing.npz"), "data: no such file"),
    (("plan", "tiny.toml", "--save", "run"), "run: cannot be written (Is a directory)"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED)
def test_what_needs_no_measuring_is_refused_before(desk, trained, arguments, text):
    shutil.copytree(trained, desk.folder / "run")
    desk.write("wide.toml", JOB.replace("outputs = 16", "outputs = 17"))
    assert desk.refuses(*arguments, mishap="no_measuring").startswith(text)


def test_a_refusal_that_comes_late_leaves_no_folder(desk):
    assert "plan.cuts" in desk.refuses("train", "tiny.toml", *settings("plan.cuts=[7]"))


@pytest.mark.parametrize("words", [("--resume", "--out", "run"), ("--resume", "run"), ("tiny.toml", "--out", "run")])
def test_a_second_process_is_refused_and_the_first_goes_on(desk, words):
    first = desk.shell.start(
        desk.folder, ["train", "tiny.toml", "--out", "run", *settings("run.checkpoint_every=1")], mishap="slow_steps"
    )
    late = time.monotonic() + 60
    while not list(desk.folder.glob("run/checkpoints/*.h5")):
        assert time.monotonic() < late
        time.sleep(0.02)
    command = [sys.executable, "-m", "mpipipe", "train", *words]
    os.kill(first, signal.SIGSTOP)  # so that it is there for as long as the second one looks
    second = subprocess.run(command, cwd=desk.folder, env=environment(), capture_output=True, text=True, check=False)
    os.kill(first, signal.SIGCONT)
    assert second.returncode == 2, second
    found = "run: holds a run already" if "tiny.toml" in words else f"run: in use by process {first} on host "
    assert second.stderr.startswith(f"mpipipe: error: {found}") and second.stderr.count("\n") == 1
    assert desk.shell.end().status == 0
    run = desk.folder / "run"
    assert [row["step"] for row in metrics(run)] == list("1234") and summary(run)["stopped"] == "finished"
    assert not (run / "lock").exists()


def test_a_run_that_was_killed_can_be_resumed(desk, trained):
    run = shutil.copytree(trained, desk.folder / "run")
    (run / "lock").write_text('{"host": "mini1", "pid": 1, "started_s": 1.0}')
    desk.does("train", "--resume", "run", "--quiet", *settings("train.steps=5"))
    assert checkpoints(run)[-1] == "step-00000005.h5" and not (run / "lock").exists()


@pytest.mark.parametrize(
    ("mishap", "name", "why"),
    [
        ("no_picture", "loss.png", "latex could not be found"),
        ("no_timeline", "timeline.npz", "[Errno 28] No space left on device"),
    ],
)
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_what_is_dispensable_ends_no_run(desk, mishap, name, why, quiet):
    ended = desk("train", "tiny.toml", "--out", "run", *quiet, mishap=mishap, picture=True)
    run = desk.folder / "run"
    assert ended.status == 0 and "Traceback" not in ended.err, ended
    assert f"notice: {name} is left out: {why}" in (ended.err if quiet or name == "timeline.npz" else ended.out)
    assert summary(run)["checkpoint"] == newest(run).name == "step-00000004.h5"
    lines = [line for line in ended.out.splitlines() if not line.startswith("notice")]
    assert lines[-1] == "results are in run"
    assert any(line.startswith("accuracy on the 359 held-back samples") for line in lines)
    assert not (run / name).exists() and not list(run.glob(".*"))


def test_a_library_that_cannot_be_loaded_is_dispensable(desk):
    (desk.folder / "none/matplotlib").mkdir(parents=True)
    desk.write("none/matplotlib/__init__.py", 'raise ImportError("cannot load libfreetype")')
    command = [sys.executable, "-m", "mpipipe", "train", "tiny.toml", "--out", "run", "--quiet"]
    variables = {**environment(), "PYTHONPATH": str(desk.folder / "none")}
    ended = subprocess.run(command, cwd=desk.folder, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended
    assert ended.stderr == "mpipipe: notice: loss.png is left out: cannot load libfreetype\n"
    assert summary(desk.folder / "run")["steps"] == 4
