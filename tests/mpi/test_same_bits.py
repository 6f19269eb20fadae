"""Law 1 with real messages: one job, any number of ranks, schedule and threads, the same weights bit for bit."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from mpipipe.job import read_job

from .ranks import in_turn, newest, quick, run, same, settings

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


@dataclass(frozen=True)
class Way:
    """One training: on so many ranks, of the small job or the large one, planned so."""

    ranks: int
    job: str = "small"
    threads: int = 0
    schedule: str = "auto"
    recompute: str = "auto"
    cuts: str = "[]"

    def __str__(self) -> str:
        again = " recompute" if self.recompute == "always" else ""
        return f"{self.job} {self.ranks} {self.schedule} {self.threads} {self.cuts}{again}"

    def command(self, job: Path, out: Path) -> list[str]:
        """That trains so."""
        plan = settings(plan_schedule=self.schedule, plan_recompute=self.recompute, plan_cuts=self.cuts)
        threads = ["--threads", str(self.threads)] if self.threads else []
        return ["train", str(job), *plan, *threads, "--out", str(out)]


WAYS = [
    *(
        Way(ranks, threads=threads, schedule=schedule)
        for ranks, schedule, threads in [
            (1, "1f1b", 1),
            (2, "gpipe", 2),
            (3, "1f1b", 3),
            (4, "gpipe", 1),
            (4, "1f1b", 2),
            (7, "gpipe", 1),
            (7, "1f1b", 2),
        ]
    ),
    Way(2, "large", 1, "1f1b"),
    Way(3, "large", 2, "gpipe"),
    Way(7, "large", 1, "1f1b"),
    Way(1, threads=2, schedule="1f1b", recompute="always"),
    Way(3, threads=2, schedule="gpipe", recompute="always"),
    Way(4, threads=2, schedule="1f1b", recompute="always"),
    Way(3, cuts="[1,7]"),
    Way(9),
]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Job files, and the checkpoints that one rank leaves, by name."""
    folder, texts = tmp_path_factory.mktemp("bits"), {"small": SMALL, "large": LARGE}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    ended = in_turn(1, *(Way(1, name, 2).command(folder / f"{name}.toml", folder / name) for name in texts))
    assert len(ended) == 2 and ended[1].status == 0, ended[-1].err
    return {name: (folder / f"{name}.toml", newest(folder / name)) for name in texts}


@pytest.fixture(scope="module")
def trained(jobs, tmp_path_factory):
    """What came of a way, which is trained in one launch with all others on as many ranks."""

    @cache
    def launch(ranks):
        ways = [way for way in WAYS if way.ranks == ranks]
        outs = [tmp_path_factory.mktemp("ways") / "run" for _ in ways]
        ended = in_turn(ranks, *(way.command(jobs[way.job][0], out) for way, out in zip(ways, outs, strict=True)))
        return dict(zip(ways, zip(ended, outs, strict=False), strict=False))

    def one(way):
        found = launch(way.ranks)
        assert way in found, f"one before it failed: {[*found.values()][-1]}"
        ended, out = found[way]
        assert ended.status == 0, ended.err
        return ended, newest(out)

    return one


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_way_gives_the_same_bits(jobs, trained, way):
    """Any number of ranks, schedule and threads; cuts by hand; forwards that are worked out again; more ranks than
    layers; messages above a megabyte."""
    job, expected = jobs[way.job]
    assert way.job == "small" or read_job(str(job)).train.micro_batch * 8200 * 4 > 1_000_000
    ended, checkpoint = trained(way)
    assert way.ranks < 9 or "idle ranks" in ended.out
    assert same(expected, checkpoint) == ""


@pytest.mark.parametrize("slow", [0, 2])
def test_a_rank_slowed_by_random_sleeps(jobs, tmp_path, slow):
    job, expected = jobs["small"]
    ended = run(4, "train", str(job), "--out", str(tmp_path / "run"), mishap=("slow", slow))
    assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""


@pytest.mark.parametrize(("ranks", "threads"), [(1, 2), (2, 1), (4, 2)])
def test_several_stages_on_a_rank(jobs, tmp_path, ranks, threads):
    job, expected = jobs["small"]
    options = ["--threads", str(threads), "--out", str(tmp_path / "run")]
    ended = run(ranks, "train", str(job), *options, mishap=("placed", -1))
    assert ended.status == 0, ended.err
    assert "8 stages on" in ended.out
    assert same(expected, newest(tmp_path / "run")) == ""


def test_resume_on_other_ranks(jobs, tmp_path: Path):
    job, expected = jobs["small"]
    out = ["--out", str(tmp_path / "run")]
    for number, (ranks, steps) in enumerate([(3, 6), (2, 10), (1, 1)]):
        resume = ["--resume"] if number else []
        ended = quick(ranks, "train", str(job), *resume, *out, *settings(run_stop_after=steps))
        assert ended.status == 0, ended.err
    assert same(expected, newest(tmp_path / "run")) == ""
