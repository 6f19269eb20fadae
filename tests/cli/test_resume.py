"""Going on: the same bits as without a stop, wherever it was; and from which checkpoint, into which folder."""

import shutil

import numpy as np
import pytest

from .running import JOB, checkpoints, flip, metrics, newest, runs, settings, summary, tree

MORE = """
[run]
validate_every = 1
"""
LONG = (
    JOB.replace('{ kind = "relu" }', '{ kind = "relu" }, { kind = "dropout", rate = 0.3 }, { kind = "layernorm" }')
    .replace("batch = 128", "batch = 600")
    .replace("micro_batch = 32", "micro_batch = 256")
    + """
rate_schedule = "cosine"
warmup_steps = 1
weight_decay = 0.01
clip_norm = 0.5
"""
    + MORE
)
"""Three steps an epoch, the last one smaller."""


def assert_same(desk, one, other):
    out = desk.does("inspect", newest(one), "--diff", newest(other))
    assert out.startswith("no difference")


@pytest.mark.parametrize(
    ("optimizer", "half"),
    [("sgd", 2), ("adam", 3), ("adamw", 2)],
    ids=["sgd in mid-epoch", "adam between epochs", "adamw in mid-epoch"],
)
def test_half_and_half_is_the_whole(desk, optimizer, half):
    desk.write("long.toml", LONG)
    # The schedule is the planner's choice, by times that are measured anew.
    sets = (f"train.steps={2 * half}", f"train.optimizer={optimizer}", "plan.schedule=1f1b")
    whole = desk.train("whole", *sets, job="long.toml")
    halves = desk.train("halves", *sets, f"run.stop_after={half}", job="long.toml")
    assert checkpoints(halves) == [f"step-{half:08d}.h5"]
    assert summary(halves)["stopped"] == "stop_after" and summary(halves)["steps"] == half
    desk.does("train", "--resume", "--out", "halves", "--quiet")
    assert checkpoints(halves) == [f"step-{half:08d}.h5", f"step-{2 * half:08d}.h5"]
    assert_same(desk, whole, halves)
    assert metrics(halves) == metrics(whole) and len(metrics(whole)) == 2 * half
    ours, theirs = summary(halves), summary(whole)
    differing = {name for name in theirs if ours[name] != theirs[name]}
    assert differing <= {"seconds", "samples_per_s", "bubble", "memory"} and ours["stopped"] == "finished"
    assert sorted(path.name for path in halves.iterdir()) == sorted(path.name for path in whole.iterdir())


def test_a_stop_adds_one_validation_and_no_more(desk):
    whole, halves = desk.train("whole"), desk.train("halves", "run.stop_after=2")
    desk.does("train", "--resume", "--out", "halves", "--quiet")
    differing = {
        (row["step"], name) for row, other in zip(metrics(halves), metrics(whole), strict=True)
        for name in row if row[name] != other[name]
    }  # fmt: skip
    assert differing <= {("2", "validation_loss"), ("2", "validation_accuracy")}


def test_another_step_size_is_another_result_and_said(desk, trained):
    out = desk.does("train", "--resume", newest(trained), "--out", "new", *settings("train.steps=5", "train.batch=64"))
    assert "notice: train.batch changed since the checkpoint: the result will differ" in out


def test_another_model_whose_weights_fit_is_said(desk, trained):
    desk.write("tanh.toml", JOB.replace("relu", "tanh").replace("steps = 4", "steps = 5"))
    out = desk.does("train", "tanh.toml", "--resume", newest(trained), "--out", "new")
    assert "notice: model changed since the checkpoint" in out


def test_the_newest_is_damaged(desk, trained):
    run = shutil.copytree(trained, desk.folder / "run")
    flip(newest(run))
    out = desk.does("train", "--resume", "--out", "run")
    assert "notice: run/checkpoints/step-00000004.h5: damaged or cut short" in out
    assert_same(desk, trained, run)
    assert metrics(run) == metrics(trained)


def test_a_checkpoint_alone_or_after_the_job(desk, trained):
    for arguments in (
        ("--resume", "{}"), ("{}", "--resume"), ("tiny.toml", "--resume", "{}"), ("--resume", "tiny.toml", "{}"),
    ):  # fmt: skip
        run = shutil.copytree(trained, desk.folder / "run")
        first = run / "checkpoints/step-00000002.h5"
        desk.does("train", *(word.format(first) for word in arguments), "--quiet")
        assert_same(desk, trained, run)
        assert metrics(run) == metrics(trained)
        shutil.rmtree(run)


def test_the_latest_run_of_a_job(desk):
    for stop in (1, 2):
        desk.does("train", "tiny.toml", "--quiet", *settings(f"run.stop_after={stop}"))
    desk.does("train", "tiny.toml", "--resume", "--quiet", *settings("run.stop_after=1"))
    first, second = runs(desk.folder)
    assert checkpoints(first) == ["step-00000001.h5"]
    assert checkpoints(second) == ["step-00000002.h5", "step-00000003.h5"]


def test_settings_count_when_the_latest_run_is_looked_for(desk):
    desk.write("open.toml", JOB.replace("steps = 4", ""))
    sets = settings("train.steps=4", "name=mine", "run.stop_after=2")
    for more in ((), ("--resume",)):
        desk.does("train", "open.toml", "--quiet", *more, *sets)
    (run,) = runs(desk.folder)
    assert run.name.startswith("mine-") and checkpoints(run) == ["step-00000002.h5", "step-00000004.h5"]


def test_an_older_checkpoint_in_a_folder_with_newer_ones(desk, trained):
    run = shutil.copytree(trained, desk.folder / "run")
    first = run / "checkpoints/step-00000002.h5"
    sets = settings("run.stop_after=1", "run.keep=1", "train.learning_rate=0.1")
    out = desk.does("train", "--resume", first, *sets)
    assert "step-00000004.h5" in out  # what becomes of it is said
    assert summary(run)["checkpoint"] == "step-00000003.h5" in checkpoints(run)
    # what is resumed next is what was saved last
    desk.does("train", "--resume", "--out", "run", "--quiet")
    assert [row["step"] for row in metrics(run)] == ["1", "2", "3", "4"]
    assert {row["learning_rate"] for row in metrics(run)[2:]} == {"0.1"}


def test_a_run_that_is_finished(desk, trained):
    run = shutil.copytree(trained, desk.folder / "run")
    before = summary(run), metrics(run), tree(run / "checkpoints")
    out = desk.does("train", "--resume", "--out", "run")
    speeds = {"seconds": None, "samples_per_s": None, "bubble": None}
    assert ({**summary(run), **speeds}, metrics(run), tree(run / "checkpoints")) == (
        {**before[0], **speeds},
        *before[1:],
    )
    assert "nothing is left to train: step 4 of 4" in out


def test_a_checkpoint_that_lies_in_no_run(desk, trained):
    # a folder of the user's own, with a job that is also named job.toml
    shutil.copy(newest(trained), desk.folder / "mine.h5")
    job = desk.write("job.toml", JOB)
    desk.does("train", "--resume", "mine.h5", "--quiet", *settings("train.steps=5"))
    assert job.read_text() == JOB
    assert sorted(path.name for path in desk.folder.iterdir()) == ["job.toml", "mine.h5", "results", "tiny.toml"]
    (run,) = runs(desk.folder)
    assert run.name.startswith("tiny-") and checkpoints(run) == ["step-00000005.h5"]
    assert [row["step"] for row in metrics(run)] == ["5"]


def test_a_checkpoint_named_from_its_own_folder(desk, trained):
    run = shutil.copytree(trained, desk.folder / "run")
    sets = settings("train.steps=5")
    ended = desk.shell(run / "checkpoints", "train", "--resume", "step-00000004.h5", "--quiet", *sets)
    assert ended.status == 0, ended
    assert checkpoints(run) == ["step-00000002.h5", "step-00000004.h5", "step-00000005.h5"]
    assert [row["step"] for row in metrics(run)] == list("12345")


def test_into_another_folder(desk, trained):
    before = tree(trained)
    desk.does("train", "--resume", newest(trained), "--out", "other", "--quiet", *settings("train.steps=5"))
    assert tree(trained) == before
    assert checkpoints(desk.folder / "other") == ["step-00000005.h5"]
    assert [row["step"] for row in metrics(desk.folder / "other")] == ["5"]


def test_how_often_and_how_many(desk):
    run = desk.train("run", "train.steps=7", "run.checkpoint_every=2", "run.keep=2")
    assert checkpoints(run) == ["step-00000006.h5", "step-00000007.h5"]
    run = desk.train("all", "train.steps=7", "run.checkpoint_every=3", "run.keep=9")
    assert checkpoints(run) == ["step-00000003.h5", "step-00000006.h5", "step-00000007.h5"]


@pytest.mark.parametrize("name", ["o'clock", "back\\slash", "two\"'quotes", "snö"])
def test_data_of_any_name(desk, name):
    (desk.folder / name).mkdir()
    x = np.random.default_rng(0).normal(size=(40, 64))
    np.savez(desk.folder / name / "some.npz", x=x, y=np.arange(40) % 10)
    desk.does("train", "tiny.toml", "--out", "run", "--data", f"{name}/some.npz", "--quiet")
    desk.does("train", "--resume", "--out", "run", "--quiet", *settings("train.steps=5"))
    assert summary(desk.folder / "run")["steps"] == 5
