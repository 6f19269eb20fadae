"""What comes out: evaluate, predict, and trainings of every kind of data and size."""

import csv
import io
import json
import re

import h5py
import numpy as np
import pytest

from mpipipe.data import open_inputs

from .running import JOB, checkpoints, metrics, newest, settings, summary


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.fixture(scope="module")
def outputs(trained):
    """What numpy makes of the digits with the weights of the checkpoint."""
    with h5py.File(newest(trained)) as file:
        weights = [file[f"layers/{name}"][...] for name in ("000_linear/weight", "000_linear/bias")]
        weights += [file[f"layers/{name}"][...] for name in ("002_linear/weight", "002_linear/bias")]
        shift, factor = file["scaling/shift"][...], file["scaling/factor"][...]
    part = open_inputs("digits", (64,), (), "")
    x = np.empty((part.count, 64), np.float32)
    part.fill(np.arange(part.count), x)
    x = (x - shift.astype(np.float32)) * factor.astype(np.float32)
    return np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3]


def test_evaluate_says_what_the_last_validation_said(desk, trained):
    last = metrics(trained)[-1]
    out = desk.does("evaluate", newest(trained), "--out", "more")
    found = json.loads((desk.folder / "more/evaluation.json").read_text())
    assert found["loss"] == float(last["validation_loss"]) == summary(trained)["validation_loss"]
    assert found["accuracy"] == float(last["validation_accuracy"]) == summary(trained)["validation_accuracy"]
    assert (found["samples"], found["data"], found["checkpoint"]) == (359, "digits", str(newest(trained)))
    line = f"359 samples of digits: loss {found['loss']:.6g}, accuracy {found['accuracy']:.2%}"
    assert out.splitlines()[-1] == line
    assert desk.does("evaluate", newest(trained), "--quiet") == f"{line}\n"
    assert sorted(path.name for path in desk.folder.iterdir()) == ["more", "tiny.toml"]


def test_evaluate_on_every_sample(desk, trained, outputs):
    out = desk.does("evaluate", newest(trained), "--quiet", "--data", "digits")
    with h5py.File(newest(trained)) as file:
        assert file.attrs["step"] == 4
    labels = labels_of("digits")
    shifted = outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    count, loss, accuracy = re.match(r"([\d,]+) samples of digits: loss ([\d.]+), accuracy ([\d.]+)%", out).groups()
    assert count == "1,797"
    assert float(loss) == pytest.approx(losses.mean(), rel=1e-4)
    assert float(accuracy) == pytest.approx(100 * np.mean(outputs.argmax(axis=1) == labels), abs=0.06)


def labels_of(name):
    from mpipipe.data import open_data
    from mpipipe.job import DataSettings

    part = open_data(DataSettings(name, validation=0.0), True, 1).train
    labels = np.empty(part.count, np.int64)
    part.fill_targets(np.arange(part.count), labels)
    return labels


def test_predictions_are_those_of_numpy(desk, trained, outputs):
    out = desk.does("predict", newest(trained), "digits")
    header, *rows = rows_of(out)
    assert header == ["row", "class", "probability"]  # and nothing else is printed there
    assert [int(row[0]) for row in rows] == list(range(1797))
    assert [int(row[1]) for row in rows] == outputs.argmax(axis=1).tolist()
    chances = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    chances = (chances / chances.sum(axis=1, keepdims=True)).max(axis=1)
    assert np.abs(np.array([float(row[2]) for row in rows]) - chances).max() < 1e-4
    assert desk.does("predict", newest(trained), "digits", "--quiet") == out
    said = desk.does("predict", newest(trained), "digits", "--out", "more")
    assert (desk.folder / "more/predictions.csv").read_text() == out
    assert said.splitlines()[-1] == "1,797 predictions are in more/predictions.csv"
    assert sorted(path.name for path in (desk.folder / "more").iterdir()) == ["predictions.csv"]


def animals():
    lines = [f"{i % 7},{'xyz'.index('xyz'[i % 3])},{('cat', 'dog', 'ö, with comma')[i % 3]}" for i in range(60)]
    return "a,b,animal\n" + "\n".join(re.sub(r"(ö.*)", r'"\1"', line) for line in lines) + "\n"


def test_classes_with_names(desk):
    desk.write("animals.csv", animals())
    desk.write("animals.toml", JOB.replace("outputs = 10", "outputs = 3").replace("steps = 4", "epochs = 40"))
    sets = ("data.target=animal", "data.path=animals.csv", "train.learning_rate=0.02")
    run = desk.train("run", *sets, job="animals.toml")
    assert summary(run)["validation_accuracy"] > 0.9
    header, *rows = rows_of(desk.does("predict", newest(run), "animals.csv"))
    truth = [row[2] for row in rows_of(animals())[1:]]
    assert header == ["row", "class", "probability"] and {row[1] for row in rows} == set(truth)
    assert np.mean([row[1] == true for row, true in zip(rows, truth, strict=True)]) > 0.9
    # columns are found by name, and the target need not be there
    desk.write("other.csv", "b,z,a\n0,9,1\n1,9,2\n")
    desk.write("same.csv", "a,b\n1,0\n2,1\n")
    assert desk.does("predict", newest(run), "other.csv") == desk.does("predict", newest(run), "same.csv")
    assert "accuracy" in desk.does("evaluate", newest(run), "--data", "animals.csv", "--quiet")


def test_values_to_learn(desk):
    desk.write("prices.csv", "a,b,price\n" + "".join(f"{i % 9},{i % 4},{2 * (i % 9) - (i % 4)}\n" for i in range(90)))
    layers = '[model]\nlayers = [{ kind = "linear", outputs = 1 }]\nloss = "mean_squared_error"\n[data]'
    desk.write("prices.toml", layers + JOB.split("[data]")[1])
    sets = ("data.path=prices.csv", "data.target=price", "train.steps=0", "train.epochs=200", "train.learning_rate=0.2")
    run = desk.train("run", *sets, job="prices.toml")
    assert summary(run)["validation_loss"] < 0.05 and summary(run)["accuracy"] is None
    header, *rows = rows_of(desk.does("predict", newest(run), "prices.csv"))
    assert header == ["row", "output_0"]
    assert all(abs(float(row[1]) - (2 * (i % 9) - i % 4)) < 0.5 for i, row in enumerate(rows))
    unit = re.escape("(mean squared error, in the unit of the targets squared)")
    assert re.match(
        rf"18 samples of prices.csv: loss [\d.e-]+ {unit}\n$", desk.does("evaluate", newest(run), "--quiet")
    )


@pytest.mark.parametrize(("unit", "offset"), [(1e12, 0), (1e-12, 0), (1, 1.7e9)])
def test_values_in_any_unit_are_learnt_and_told_in_that_unit(desk, unit, offset):
    targets = [offset + unit * (2 * (i % 9) - (i % 4)) for i in range(90)]
    desk.write("far.csv", "a,b,target\n" + "".join(f"{i % 9},{i % 4},{t!r}\n" for i, t in enumerate(targets)))
    layers = '[model]\nlayers = [{ kind = "linear", outputs = 1 }]\nloss = "mean_squared_error"\n[data]'
    desk.write("far.toml", layers + JOB.split("[data]")[1])
    sets = ("data.path=far.csv", "train.steps=0", "train.epochs=300", "train.learning_rate=0.2")
    run = desk.train("run", *sets, job="far.toml")
    told = summary(run)["validation_loss"]
    assert told == float(metrics(run)[-1]["validation_loss"]) < (unit * 0.05) ** 2
    assert float(metrics(run)[0]["loss"]) > unit**2, "an untrained model errs by more than a unit"
    text = desk.does("evaluate", newest(run), "--quiet", "--data", "far.csv")
    found = [float(row[1]) for row in rows_of(desk.does("predict", newest(run), "far.csv"))[1:]]
    errors = np.array(found) - targets
    assert np.abs(errors).max() < 0.2 * unit
    loss = float(re.search(r"loss (\S+)", text)[1])
    assert loss == pytest.approx(np.mean(errors**2), rel=1e-2, abs=(1e-5 * unit) ** 2)
    again = desk.train("again", *sets, "run.stop_after=100", job="far.toml")
    desk.does("train", "--resume", "--out", again)
    assert metrics(again)[-1]["loss"] == metrics(run)[-1]["loss"]


def test_values_are_learnt_as_they_are_where_nothing_is_to_be_scaled(desk):
    desk.write("far.csv", "a,target\n" + "".join(f"{i % 2},{1000 + i % 2}\n" for i in range(20)))
    layers = '[model]\nlayers = [{ kind = "linear", outputs = 1 }]\nloss = "mean_squared_error"\n[data]'
    desk.write("far.toml", layers + JOB.split("[data]")[1])
    run = desk.train("run", "data.path=far.csv", "data.scale=none", "train.steps=1", job="far.toml")
    with h5py.File(newest(run)) as file:
        assert set(file["scaling"]) == {"shift", "factor"}
    found = [float(row[1]) for row in rows_of(desk.does("predict", newest(run), "far.csv"))[1:]]
    assert max(np.abs(found)) < 500, "a checkpoint without a scaling of targets gives the outputs as they are"


def test_nothing_is_held_back(desk):
    run = desk.train("run", "data.validation=0")
    assert {row["validation_loss"] for row in metrics(run)} == {""}
    assert summary(run)["validation_loss"] is None
    text = desk.refuses("evaluate", newest(run))
    assert text == "digits: no sample is held back; needed: a validation part; name a set by --data"
    assert desk.does("evaluate", newest(run), "--data", "digits", "--quiet").startswith("1,797 samples of digits")


@pytest.mark.parametrize(("batch", "micro_batch"), [(5000, 5000), (7, 3), (1, 1), (100, 99)])
def test_nothing_need_divide_anything(desk, batch, micro_batch):
    run = desk.train("run", f"train.batch={batch}", f"train.micro_batch={micro_batch}", "train.steps=2")
    seen = min(batch, 1438) * 2
    assert summary(run)["samples"] == seen and summary(run)["epochs"] == seen // 1438
    assert np.isfinite(summary(run)["loss"])


def test_what_a_run_leaves(desk):
    out = desk.does("train", "tiny.toml", "--out", "run", picture=True)
    run = desk.folder / "run"
    files = ["cluster.json", "job.toml", "loss.png", "metrics.csv", "plan.json", "summary.json", "timeline.npz"]
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", *files] and checkpoints(run) == [
        "step-00000004.h5"
    ]
    accuracy = summary(run)["validation_accuracy"]
    assert f"accuracy on the 359 held-back samples: {accuracy:.2%}" in out
    assert out.splitlines()[-1] == "results are in run"
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    # the effective job is a job
    again = desk.train("again", job="run/job.toml")
    assert desk.does("inspect", newest(run), "--diff", newest(again)).startswith("no difference")
    assert metrics(run) == metrics(again)


def test_quiet_is_quiet(desk):
    ended = desk("train", "tiny.toml", "--out", "run", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    first, *_, last = ended.out.splitlines()
    assert first.startswith("trained ")
    assert last == "results are in run"


def test_threads(desk):
    one, many = desk.train("one", "run.threads=1"), desk.train("many", "run.threads=5")
    assert desk.does("inspect", newest(one), "--diff", newest(many)).startswith("no difference")
    desk.does("train", "tiny.toml", "--out", "three", "--threads", "3", "--quiet")
    for run, threads in ((many, 5), (desk.folder / "three", 3)):
        assert json.loads((run / "plan.json").read_text())["stages"][0]["threads"] == threads
    for option in (("--threads", "6"), settings("run.threads=6")):
        desk.does("plan", "tiny.toml", *option, "--save", "plan.json", "--quiet")
        assert json.loads((desk.folder / "plan.json").read_text())["stages"][0]["threads"] == 6


def test_a_plan_for_hosts_that_are_not_there(desk):
    desk.does("probe", "--save", "cluster.json", "--quiet")
    cluster = json.loads((desk.folder / "cluster.json").read_text())
    host = cluster["hosts"][0]
    cluster["hosts"] = [{**host, "rank": rank, "name": f"mini{rank}"} for rank in range(3)]
    desk.write("three.json", json.dumps(cluster))
    out = desk.does("plan", "tiny.toml", "--cluster", "three.json", "--save", "plan.json")
    plan = json.loads((desk.folder / "plan.json").read_text())
    assert plan["ranks"] == 3 and len(plan["stages"]) == 3
    assert all(f"mini{rank}" in out for rank in range(3))
