"""Every command under mpirun, and the figures that the main job must reach."""

import csv
import json

import pytest

from .ranks import alone, in_turn, newest, run, settings

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
    evaluate, predict = ["evaluate", checkpoint, "--quiet"], ["predict", checkpoint, "digits", "--quiet"]
    three, there = in_turn(3, evaluate, predict)
    one, here = alone(*evaluate), alone(*predict)
    assert one.status == three.status == 0, three.err
    assert one.out == three.out
    accuracy = json.loads((folder / "summary.json").read_text())["validation_accuracy"]
    assert f"accuracy {accuracy:.2%}" in one.out
    assert here.status == there.status == 0, there.err
    assert here.out.replace("\r", "") == there.out.replace("\r", "")
    assert len(here.out.splitlines()) == 1 + 1797


def test_commands_without_mpi_do_their_work_in_every_task(trained, tmp_path):
    """Each task may have files of its own; what needs MPI speaks once."""
    folder, _ = trained
    cluster, checkpoint = str(tmp_path / "cluster.json"), str(newest(folder))
    probe = run(3, "probe", "--save", cluster)
    assert probe.status == 0, probe.err
    assert len(json.loads((tmp_path / "cluster.json").read_text())["hosts"]) == 3
    every = in_turn(
        2,
        ["inspect", checkpoint, "--diff", checkpoint],
        ["schedule", "--stages", "3", "--micros", "4"],
        ["plan", "--cluster", cluster],
        ["plan"],
    )
    assert [one.status for one in every] == [0] * 4, every[-1].err
    # Tasks need not end a command together, so what they say may come among the lines of the next.
    said = "".join(one.out for one in every)
    assert said.count("no difference") == 2
    assert said.count("rank 2 |") == 2
    assert said.count("stages on 3 ranks") == 2
    assert said.count("stages on 2 ranks") == 1
    assert said.count("predicted:") == 3


def test_auto_and_numbers_of_ranks(tmp_path):
    cases, sets = {"auto": None, "2": 2}, settings(train_epochs=0, train_steps=2)
    every = in_turn(
        3, *(["train", *sets, "--set", f"plan.ranks={ranks}", "--out", str(tmp_path / ranks)] for ranks in cases)
    )
    assert len(every) == 2 and every[-1].status == 0, every[-1].err
    for ranks, stages in cases.items():
        plan = json.loads((tmp_path / ranks / "plan.json").read_text())
        assert plan["ranks"] == 3
        assert stages is None or len(plan["stages"]) == stages
