"""Every command under mpirun, and the figures that the main job must reach."""

import csv
import json

import pytest

from .ranks import alone, newest, run, settings

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The main job on four ranks."""
    folder = tmp_path_factory.mktemp("main") / "run"
    ended = run(4, "train", "--out", str(folder))
    assert ended.status == 0, ended.err
    return folder, ended


def test_the_main_job_learns_and_leaves_everything(trained):
    folder, ended = trained
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["validation_accuracy"] >= 0.97
    left = {path.name for path in folder.iterdir()}
    assert left == {
        "job.toml", "cluster.json", "plan.json", "metrics.csv", "summary.json", "loss.png", "timeline.npz",
        "checkpoints",
    }  # fmt: skip
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == summary["steps"]
    assert {
        "step",
        "epoch",
        "loss",
        "accuracy",
        "samples_per_s",
        "learning_rate",
        "gradient_norm",
        "bubble",
        "seconds",
    } <= set(rows[0])
    assert "accuracy on the 359 held-back samples" in ended.out


def test_evaluate_and_predict_agree_on_any_ranks(trained, tmp_path):
    folder, _ = trained
    checkpoint = str(newest(folder))
    one, three = alone("evaluate", checkpoint, "--quiet"), run(3, "evaluate", checkpoint, "--quiet")
    assert one.status == three.status == 0, three.err
    assert one.out == three.out
    accuracy = json.loads((folder / "summary.json").read_text())["validation_accuracy"]
    assert f"accuracy {accuracy:.2%}" in one.out
    here, there = alone("predict", checkpoint, "digits", "--quiet"), run(3, "predict", checkpoint, "digits", "--quiet")
    assert here.status == there.status == 0, there.err
    assert here.out.replace("\r", "") == there.out.replace("\r", "")
    assert len(here.out.splitlines()) == 1 + 1797


def test_commands_without_mpi_do_their_work_in_every_task(trained, tmp_path):
    """Each task may have files of its own; what needs MPI speaks once."""
    folder, _ = trained
    inspect = run(2, "inspect", str(newest(folder)), "--diff", str(newest(folder)))
    assert inspect.status == 0
    assert inspect.out.count("no difference") == 2
    assert run(2, "schedule", "--stages", "3", "--micros", "4").out.count("rank 2 |") == 2
    probe = run(3, "probe", "--save", str(tmp_path / "cluster.json"))
    assert probe.status == 0, probe.err
    assert len(json.loads((tmp_path / "cluster.json").read_text())["hosts"]) == 3
    plan = run(2, "plan", "--cluster", str(tmp_path / "cluster.json"))
    assert plan.status == 0, plan.err
    assert plan.out.count("predicted:") == plan.out.count("stages on 3 ranks") == 2
    measured = run(2, "plan")
    assert measured.out.count("stages on 2 ranks") == 1, measured.err


def test_auto_and_numbers_of_ranks(tmp_path):
    for ranks, stages in (("auto", None), (2, 2)):
        folder = tmp_path / str(ranks)
        options = settings(train_epochs=0, train_steps=2, plan_ranks=ranks)
        ended = run(3, "train", *options, "--out", str(folder))
        assert ended.status == 0, ended.err
        plan = json.loads((folder / "plan.json").read_text())
        assert plan["ranks"] == 3
        assert stages is None or len(plan["stages"]) == stages
