"""What a user can mend: one clear line, status 2, and nothing left half-written."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from needs import missing

from .running import JOB, checkpoints, flip, newest, one_line, settings, tree

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(40, 64)).astype("f4"), rng.integers(0, 10, 40)


def npz(desk, name, x=X, y=Y):
    np.savez(desk.folder / name, x=x, y=y)
    return name


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def csv_text():
    return "a,b,target\n" + "".join(f"{i},{i % 3},{i % 10}\n" for i in range(300))


@pytest.mark.parametrize(
    ("sets", "text"),
    [
        (["train.epoch=3"], "tiny.toml: train.epoch: unknown key; did you mean 'epochs'?"),
        (["trian.steps=3"], "tiny.toml: trian: unknown key; did you mean 'train'?"),
        (["train.batch=many"], "tiny.toml: train.batch: 'many' is a string; needed: an integer"),
        (["train.steps=1.5"], "tiny.toml: train.steps: 1.5 is a number; needed: an integer"),
        (["train.batch=-1"], "tiny.toml: train.batch: -1; needed: 1 or more"),
        (["train.micro_batch=-1"], "tiny.toml: train.micro_batch: -1; needed: 0 or more"),
        (["train.seed=-1"], "tiny.toml: train.seed: -1; needed: 0 or more"),
        (["train.micro_batch=129"], "tiny.toml: train.micro_batch: 129 is larger than train.batch, which is 128"),
        (["train.epochs=1"], "tiny.toml: train.epochs, train.steps: both are set"),
        (["train.optimizer=adm"], "needed: one of sgd, adam, adamw; did you mean 'adam'?"),
        (["train.learning_rate=nan"], "tiny.toml: train.learning_rate: nan is not finite"),
        (["plan.ranks=0"], "tiny.toml: plan.ranks: 0; needed: 1 or more"),
        (["train.steps"], "--set train.steps: no KEY=VALUE"),
        (["=3"], "--set =3: no KEY=VALUE"),
        (["train.steps.more=3"], "--set train.steps.more=3: 'steps' is not a table"),
        (['model.layers=[{kind="liner"}]'], "model.layers[0].kind: unknown layer 'liner'; did you mean 'linear'?"),
        (['model.layers=[{kind="linear",outputs=-3}]'], "layer 000_linear, given shape (64,): linear.outputs: -3"),
        (["model.loss=mse"], "model.loss: unknown loss 'mse'; known are mean_squared_error, softmax_cross_entropy"),
        (["plan.cuts=[7]"], "plan.cuts: 7; needed: cuts below the number of layers, 3"),
        (["plan.ranks=2"], "plan.ranks: 2; needed: at most the 1 rank"),
    ],
)
def test_a_job_that_cannot_be(desk, sets, text):
    assert text in desk.refuses("train", "tiny.toml", "--out", "run", *settings(*sets))


@pytest.mark.parametrize("arguments", [("--data", "d\udce9.csv"), ("--set", "name=d\udce9")])
def test_names_that_are_not_utf8(desk, arguments):
    text = desk.refuses("train", "tiny.toml", "--out", "run", *arguments)
    assert "d\\udce9" in text and "is not UTF-8; needed: names in UTF-8; rename the file" in text


BOM = b"\xef\xbb\xbf"


def test_files_as_windows_editors_save_them(desk):
    desk.write("pretend.toml", BOM + b'[[hosts]]\r\nname = "mini1"\r\n')
    desk.write("bom.toml", BOM + JOB.replace("\n", "\r\n").encode())
    desk.does("plan", "bom.toml", "--pretend", "pretend.toml", "--quiet")
    desk.does("probe", "bom.toml", "--save", "shelf.json", "--quiet")
    desk.write("bom.json", BOM + (desk.folder / "shelf.json").read_bytes())
    desk.does("plan", "bom.toml", "--cluster", "bom.json")
    for name in ("tiny.toml", "pretend.toml", "shelf.json"):
        desk.write(f"wide-{name}", (desk.folder / name).read_text(encoding="utf-8-sig").encode("utf-16"))
    for words in (("wide-tiny.toml",), ("--pretend", "wide-pretend.toml"), ("--cluster", "wide-shelf.json")):
        assert "looks like UTF-16; save it as UTF-8" in desk.refuses("plan", *words)


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ("digit", "digit: no such job; needed: a TOML file or a preset's name; did you mean 'digits'?"),
        ("nothing.toml", "nothing.toml: no such job"),
        ("broken.toml", "broken.toml: not TOML (Expected ']'"),
        ("binary.toml", "binary.toml: cannot be read ("),
        (".", ".: cannot be read ("),
        ("other.toml", "other.toml: model.layer: unknown key; did you mean 'layers'?"),
        ("negative.toml", "negative.toml: run.keep: 0; needed: 1 or more"),
    ],
)
def test_a_job_file_that_cannot_be_used(desk, job, text):
    desk.write("broken.toml", "[train\nsteps = 3\n")
    desk.write("binary.toml", b"\xff\xfe\x00")
    desk.write("other.toml", JOB.replace("layers", "layer"))
    desk.write("negative.toml", JOB + "[run]\nkeep = 0\n")
    assert desk.refuses("train", job, "--out", "run").startswith(text)
    assert desk.refuses("plan", job).startswith(text)


def test_data_that_cannot_be_used(desk):
    whole = (desk.folder / npz(desk, "good.npz")).read_bytes()
    desk.write("half.npz", whole[: len(whole) // 2])
    npz(desk, "label.npz", y=changed(Y, 7, 10))
    npz(desk, "nan.npz", x=changed(X, (5, 3), np.nan))
    npz(desk, "infinite.npz", x=changed(X, (6, 63), -np.inf))
    packed = gzip.compress(csv_text().encode())
    desk.write("half.csv.gz", packed[: len(packed) // 2])
    desk.write("some.doc", "x")
    desk.write("short.txt", "x")
    desk.write("some.txt", "to be or not to be")
    for data, text in {
        "nothing.npz": r"data: no such file or folder 'nothing.npz', and no shipped set of that name",
        "half.npz": r"half.npz: cannot be read \(",
        "half.csv.gz": r"half.csv.gz: cannot be read \(",
        "label.npz": r"label.npz: label 10 in row 7 \(counted from 0\); needed: labels from 0 to 9",
        "nan.npz": r"nan.npz: nan in row 5, feature 3 \(counted from 0\)",
        "infinite.npz": r"infinite.npz, held-back samples: -inf in row 6, feature 63 \(counted from 0\)",
        "some.doc": r"some.doc: a file of unknown format",
        "short.txt": r"short.txt: holds one character only; needed: at least 2",
        "some.txt": r"some.txt: a text, but the first layer is 000_\w+; needed: an embedding as the first layer",
        "digit": r"data: no such file.*did you mean 'digits'\?",
    }.items():
        assert re.match(text, desk.refuses("train", "tiny.toml", "--out", "run", "--data", data)), data
    assert desk.refuses("plan", "tiny.toml", "--data", "half.npz").startswith("half.npz: cannot be read (")


def test_a_plan_that_fits_nowhere(desk):
    desk.does("probe", "--save", "cluster.json", "--quiet")
    cluster = json.loads((desk.folder / "cluster.json").read_text())
    cluster["hosts"][0] |= {"available_bytes": 10_000, "name": "mini7"}
    desk.write("small.json", json.dumps(cluster))
    text = desk.refuses("plan", "tiny.toml", "--cluster", "small.json", "--save", "plan.json")
    found = r"host mini7 \(rank 0\) is short by ([\d,]+) bytes: .* take ([\d,]+) bytes, .* sets aside ([\d,]+) bytes"
    short, needed, aside = (int(number.replace(",", "")) for number in re.search(found, text).groups())
    assert needed + aside - short == 10_000
    assert "a smaller train.micro_batch" in text
    # the same where the hosts are measured
    sizes = settings("model.layers=[{kind='linear',outputs=2000000000},{kind='linear',outputs=10}]")
    assert re.search(r"is short by [\d,]+ bytes", desk.refuses("train", "tiny.toml", "--out", "run", *sizes))


def test_cluster_files_that_cannot_be_used(desk):
    for name, content, text in (
        ("empty.json", '{"hosts": []}', "empty.json.hosts: empty"),
        ("odd.json", '{"host": []}', "odd.json.host: unknown key; did you mean 'hosts'?"),
        ("cut.json", '{"hosts": [', "cut.json: is not JSON ("),
    ):
        desk.write(name, content)
        assert desk.refuses("plan", "tiny.toml", "--cluster", name).startswith(text)
    assert desk.refuses("plan", "tiny.toml", "--cluster", "no.json").startswith("no.json: cannot be read (No such file")


@pytest.mark.parametrize("command", [("plan", "tiny.toml"), ("probe",)])
def test_a_file_that_cannot_be_saved(desk, command):
    for place in ("nowhere/some.json", "."):
        text = desk.refuses(*command, "--save", place)
        assert "cannot be written" in text
    assert "cannot be written" in desk.refuses("schedule", "--svg", "nowhere/some.svg")


def test_an_out_folder_that_cannot_be(desk):
    desk.write("file", "")
    for place in ("file", "file/sub"):
        text = desk.refuses("train", "tiny.toml", "--out", place)
        assert text.startswith(f"{place}: cannot be written (")
    if os.geteuid():
        (desk.folder / "locked").mkdir(mode=0o555)
        assert desk.refuses("train", "tiny.toml", "--out", "locked/run").startswith("locked/run: cannot be written (")


def test_an_out_folder_that_holds_a_run(desk, trained):
    shutil.copytree(trained, desk.folder / "run")
    text = desk.refuses("train", "tiny.toml", "--out", "run")
    assert text.startswith("run: holds a run already") and text.endswith("use --resume, or another --out")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--out", "nothing"), "nothing: no such folder; needed: the folder of an earlier run"),
        (("--out", "tiny.toml"), "tiny.toml: is not a folder"),
        (("--out", "."), ".: holds no run"),
        ((), "results: no run of job 'digits' with a checkpoint"),
        (("tiny.toml",), "results: no run of job 'tiny' with a checkpoint"),
        (("nothing.h5",), "nothing.h5: cannot be read (No such file or directory)"),
        (("tiny.toml", "tiny.toml"), "tiny.toml: not a checkpoint of mpipipe"),
        (("tiny.toml", "."), ".: holds no run; needed: a folder with job.toml and checkpoints"),
        ((".",), ".: holds no run"),
    ],
)
def test_nothing_to_resume(desk, arguments, text):
    assert desk.refuses("train", "--resume", *arguments).startswith(text)


def test_a_run_without_a_checkpoint(desk, trained):
    shutil.copytree(trained, desk.folder / "run")
    shutil.rmtree(desk.folder / "run/checkpoints")
    (desk.folder / "run/checkpoints").mkdir()
    text = desk.refuses("train", "--resume", "--out", "run")
    assert text.startswith("run/checkpoints: no checkpoint; needed: one that train wrote")


def test_a_damaged_checkpoint_is_refused_by_all(desk, trained):
    whole = newest(trained).read_bytes()
    for name, content in (("cut.h5", whole[: len(whole) // 2]), ("short.h5", whole[:100]), ("flipped.h5", whole)):
        path = desk.write(name, content)
        if name == "flipped.h5":
            flip(path)
        for command in (
            ("train", "--resume", name),
            ("train", "tiny.toml", "--resume", name, "--out", "run"),
            ("evaluate", name, "--out", "more"),
            ("predict", name, "digits", "--out", "more"),
            ("inspect", name),
            ("inspect", newest(trained), "--diff", name),
        ):
            if name == "flipped.h5" or command[0] in ("train", "inspect"):
                assert desk.refuses(*command).startswith(f"{name}: damaged or cut short")


def test_no_good_checkpoint_is_left(desk, trained):
    shutil.copytree(trained, desk.folder / "run")
    for name in checkpoints(desk.folder / "run"):
        flip(desk.folder / "run/checkpoints" / name)
    text = desk.refuses("train", "--resume", "--out", "run")
    assert text.startswith("run/checkpoints: no good checkpoint (")
    assert "step-00000002.h5: damaged" in text and "step-00000004.h5: damaged" in text


def test_a_checkpoint_of_another_model(desk, trained):
    desk.write("wide.toml", JOB.replace("outputs = 16", "outputs = 17"))
    desk.write("deep.toml", JOB.replace('{ kind = "relu" }', '{ kind = "relu" }, { kind = "linear", outputs = 16 }'))
    for job, text in (
        ("wide.toml", r"another model: 000_linear/bias has shape \(16,\) in the checkpoint; needed: shape \(17,\)"),
        ("deep.toml", r"another model: 002_linear/bias has shape \(10,\) in the checkpoint; needed: shape \(16,\)"),
    ):
        before = tree(trained)
        for arguments in (("--resume", newest(trained)), ("--resume", "--out", trained)):
            assert re.search(text, desk.refuses("train", job, *arguments))
        assert tree(trained) == before


def test_a_resume_with_another_optimizer_or_data(desk, trained):
    run = settings("train.steps=6")
    text = desk.refuses("train", "--resume", newest(trained), "--out", "new", *run, *settings("train.optimizer=sgd"))
    assert text.startswith("train.optimizer: 'sgd', but the checkpoint has the state of 'adamw'")
    npz(desk, "narrow.npz", x=X[:, :8])
    text = desk.refuses("train", "--resume", newest(trained), "--out", "new", "--data", "narrow.npz", *run)
    assert "another model: 000_linear/weight has shape (64, 16) in the checkpoint; needed: shape (8, 16)" in text
    npz(desk, "few.npz")
    text = desk.refuses("train", "--resume", newest(trained), "--out", "new", "--data", "few.npz", *run)
    assert text.startswith("few.npz: 32 training samples; needed: at least 512")


def test_evaluate_and_predict_on_data_of_another_shape(desk, trained):
    npz(desk, "narrow.npz", x=X[:, :8])
    npz(desk, "label.npz", y=changed(Y, 7, 12))
    npz(desk, "nan.npz", x=changed(X, (5, 3), np.nan))
    desk.write("other.csv", csv_text())
    path = newest(trained)
    for data, text in {
        "narrow.npz": "narrow.npz: samples of shape (8,); needed: shape (64,)",
        "label.npz": "label.npz: label 12 in row 7",
        "nan.npz": "nan.npz: nan in row 5",
        "other.csv": "other.csv: samples of shape (2,)",
        "nothing.npz": "data: no such file",
    }.items():
        assert desk.refuses("evaluate", path, "--data", data, "--out", "more").startswith(text)
    for data, text in {
        "narrow.npz": "narrow.npz x: samples of shape (8,); needed: the model's shape (64,)",
        "nan.npz": "nan.npz: nan in row 5",
        "other.csv": "other.csv: samples of shape (2,)",
        "nothing.npz": "data: no such file",
    }.items():
        assert desk.refuses("predict", path, data, "--out", "more").startswith(text)


def test_results_that_cannot_be_written(desk, trained):
    desk.write("file", "")
    for command in (("evaluate", newest(trained)), ("predict", newest(trained), "digits")):
        assert desk.refuses(*command, "--out", "file").startswith("file: cannot be written (")


@pytest.mark.parametrize("out", ["/dev/full", "a pipe that nobody reads"])
def test_standard_output_that_takes_no_more(desk, trained, out):
    if out == "/dev/full" and not Path(out).exists():
        missing("standard output on a full disk: no /dev/full")
    for command in (
        ("predict", newest(trained), "digits"),
        ("evaluate", newest(trained)),
        ("inspect", newest(trained), "--stats"),
        ("schedule",),
        ("plan", "tiny.toml"),
    ):
        assert desk.refuses(*command, out=out).startswith("standard output: cannot be written (")


def test_a_mistake_and_a_bug_are_told_apart(desk):
    ended = desk("train", "tiny.toml", "--out", "run", *settings("train.optimizer=sgd", "train.learning_rate=1e30"))
    assert ended.status == 1
    line = [line for line in ended.err.splitlines() if not line.startswith("epoch ")]
    text = one_line("".join(f"{each}\n" for each in line))
    assert re.match(r"step 2, micro-batch \d: the loss is not finite; layer 002_linear is the first whose", text)
    assert text.endswith("a smaller train.learning_rate, train.clip_norm or train.warmup_steps may help")
    assert checkpoints(desk.folder / "run") == []
