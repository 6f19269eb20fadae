"""Law 1 with real messages: one job, any number of ranks, schedule and threads, the same weights bit for bit."""

from pathlib import Path

import pytest

from mpipipe.job import read_job

from .ranks import newest, run, same, settings

pytestmark = pytest.mark.mpi

# 97 samples in a batch leave a smaller micro-batch, 1,438 samples a smaller batch; micro-batches of 10 x 16 floats are
# below 1 KB, those of 33 x 8,200 floats above 1 MB.
SMALL = """
[model]
layers = [
    { kind = "linear", outputs = 16 },
    { kind = "residual", repeat = 6, layers = [
        { kind = "layernorm" }, { kind = "linear", outputs = 16 }, { kind = "gelu" }, { kind = "dropout", rate = 0.2 },
        { kind = "linear", outputs = 16 } ] },
    { kind = "linear", outputs = 10 },
]
[data]
path = "digits"
[train]
steps = 17
batch = 97
micro_batch = 10
clip_norm = 0.5
optimizer = "adam"
rate_schedule = "cosine"
"""
LARGE = """
[model]
layers = [
    { kind = "linear", outputs = 8200 },
    { kind = "relu" },
    { kind = "tanh" },
    { kind = "dropout", rate = 0.1 },
    { kind = "sigmoid" },
    { kind = "leaky_relu" },
    { kind = "linear", outputs = 10 },
]
[data]
path = "digits"
[train]
steps = 3
batch = 95
micro_batch = 33
optimizer = "sgd"
learning_rate = 0.01
"""
CASES = [
    (1, "1f1b", 1),
    (2, "gpipe", 2),
    (3, "1f1b", 3),
    (4, "gpipe", 1),
    (4, "1f1b", 2),
    (7, "gpipe", 1),
    (7, "1f1b", 2),
]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    made = {}
    for name, text in (("small", SMALL), ("large", LARGE)):
        job = folder / f"{name}.toml"
        job.write_text(text)
        base = folder / name
        ended = run(1, "train", str(job), "--out", str(base), "--threads", "2")
        assert ended.status == 0, ended.err
        made[name] = (job, newest(base))
    return made


@pytest.mark.parametrize(("ranks", "schedule", "threads"), CASES)
def test_every_number_of_ranks_gives_the_same_bits(jobs, tmp_path, ranks, schedule, threads):
    job, expected = jobs["small"]
    options = [*settings(plan_schedule=schedule), "--threads", str(threads), "--out", str(tmp_path / "run")]
    ended = run(ranks, "train", str(job), *options)
    assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""


@pytest.mark.parametrize(("ranks", "schedule", "threads"), [(2, "1f1b", 1), (3, "gpipe", 2), (7, "1f1b", 1)])
def test_messages_above_a_megabyte(jobs, tmp_path, ranks, schedule, threads):
    job, expected = jobs["large"]
    assert read_job(str(job)).train.micro_batch * 8200 * 4 > 1_000_000
    options = [*settings(plan_schedule=schedule), "--threads", str(threads), "--out", str(tmp_path / "run")]
    ended = run(ranks, "train", str(job), *options)
    assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""


@pytest.mark.parametrize("slow", [0, 2])
def test_a_rank_slowed_by_random_sleeps(jobs, tmp_path, slow):
    job, expected = jobs["small"]
    ended = run(4, "train", str(job), "--out", str(tmp_path / "run"), mishap=("slow", slow))
    assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""


def test_cuts_by_hand_and_more_ranks_than_layers(jobs, tmp_path):
    job, expected = jobs["small"]
    cut = run(3, "train", str(job), "--out", str(tmp_path / "cut"), *settings(plan_cuts="[1,7]"))
    assert cut.status == 0, cut.err
    assert same(expected, newest(tmp_path / "cut")) == ""
    many = run(9, "train", str(job), "--out", str(tmp_path / "many"))
    assert many.status == 0, many.err
    assert "idle ranks" in many.out
    assert same(expected, newest(tmp_path / "many")) == ""


@pytest.mark.parametrize(("ranks", "threads"), [(1, 2), (2, 1), (4, 2)])
def test_several_stages_on_a_rank(jobs, tmp_path, ranks, threads):
    job, expected = jobs["small"]
    options = ["--threads", str(threads), "--out", str(tmp_path / "run")]
    ended = run(ranks, "train", str(job), *options, mishap=("placed", -1))
    assert ended.status == 0, ended.err
    assert "8 stages on" in ended.out
    assert same(expected, newest(tmp_path / "run")) == ""


@pytest.mark.parametrize(("ranks", "schedule"), [(1, "1f1b"), (3, "gpipe"), (4, "1f1b")])
def test_working_the_forwards_out_again(jobs, tmp_path, ranks, schedule):
    job, expected = jobs["small"]
    options = settings(plan_schedule=schedule, plan_recompute="always")
    ended = run(ranks, "train", str(job), *options, "--threads", "2", "--out", str(tmp_path / "run"))
    assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""


def test_resume_on_other_ranks(jobs, tmp_path: Path):
    job, expected = jobs["small"]
    out = ["--out", str(tmp_path / "run")]
    for number, (ranks, steps) in enumerate([(3, 6), (2, 10), (1, 1)]):
        resume = ["--resume"] if number else []
        ended = run(ranks, "train", str(job), *resume, *out, *settings(run_stop_after=steps))
        assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""
