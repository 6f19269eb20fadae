"""A tied text model under real MPI: both copies get the same sum, whoever holds them, in messages above a megabyte."""

import h5py
import numpy as np
import pytest

from .ranks import in_turn, newest, quick, same, settings

pytestmark = pytest.mark.mpi

JOB = """
[model]
layers = [
    {{ kind = "embedding", tokens = 4200, width = 64 }},
    {{ kind = "transformer", width = 64, heads = 4, hidden = 96, rotary = true }},
    {{ kind = "layernorm" }},
    {{ kind = "unembedding", tokens = 4200 }},
]
[data]
path = "{path}"
context = 9
[train]
steps = 4
batch = 7
micro_batch = 3
optimizer = "adamw"
weight_decay = 0.1
clip_norm = 0.5
"""


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The job, and the checkpoint of one rank."""
    folder = tmp_path_factory.mktemp("texts")
    words = np.random.default_rng(3).choice(["one", "rank", "more", "and", "then", "\n"], 800)
    (folder / "text.txt").write_text(" ".join(words))
    job = folder / "text.toml"
    job.write_text(JOB.format(path=folder / "text.txt"))
    ended = quick(1, "train", str(job), "--out", str(folder / "one"), "--threads", "2")
    assert ended.status == 0, ended.err
    return job, newest(folder / "one")


@pytest.fixture(scope="module")
def folders(single, tmp_path_factory):
    """Of each number of ranks, and of a run that three ranks began and two ended."""
    job, folder = str(single[0]), tmp_path_factory.mktemp("tied")
    begin = ["train", job, "--out", str(folder / "resumed"), *settings(run_stop_after=2)]
    for ranks, schedule, cuts, more in (
        (3, "gpipe", "[1,3]", [begin]),
        (2, "1f1b", "[3]", [[*begin, "--resume"]]),
        (5, "1f1b", "[1,2,3,4]", []),
    ):
        sets = settings(plan_schedule=schedule, plan_cuts=cuts)
        train = ["train", job, *sets, "--threads", "1", "--out", str(folder / str(ranks))]
        every = in_turn(ranks, train, *more)
        assert len(every) == 1 + len(more) and every[-1].status == 0, every[-1].err
    return folder


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_a_tied_text_model_gives_the_same_bits_on_any_ranks(single, folders, ranks):
    assert same(single[1], newest(folders / str(ranks))) == ""


def test_both_copies_in_a_checkpoint_are_the_same(single):
    with h5py.File(single[1]) as file:
        first, last = (file[f"layers/{name}/weight"][()] for name in ("000_embedding", "004_unembedding"))
    assert first.nbytes > 1_000_000 and first.tobytes() == last.tobytes()


def test_resuming_a_tied_text_model_on_other_ranks(single, folders):
    assert same(single[1], newest(folders / "resumed")) == ""
