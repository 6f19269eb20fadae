"""Generating under mpirun: the same text over any number of ranks."""

import pytest

from .ranks import alone, in_turn, newest, quick, run, tracebacks

pytestmark = pytest.mark.mpi

JOB = """
[model]
layers = [
    { kind = "embedding", tokens = 32, width = 16, positions = false },
    { kind = "transformer", width = 16, heads = 4, key_value_heads = 2, rotary = true, activation = "swiglu" },
    { kind = "layernorm" },
    { kind = "unembedding", tokens = 32 },
]

[data]
path = "TEXT"
context = 24

[train]
steps = 2
batch = 8
micro_batch = 4
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny model of a small text."""
    folder = tmp_path_factory.mktemp("generating")
    (folder / "text.txt").write_text("she sells sea shells on the sea shore.\n" * 20)
    (folder / "job.toml").write_text(JOB.replace("TEXT", str(folder / "text.txt")))
    trained = alone("train", str(folder / "job.toml"), "--out", str(folder / "run"), "--quiet")
    assert trained.status == 0, trained.err
    return str(newest(folder / "run"))


def test_the_same_text_over_any_ranks(checkpoint):
    words = "generate", checkpoint, "she sells", "--count", "100"
    one = alone(*words)
    assert one.status == 0 and one.err == "", one.err
    assert one.out.startswith("she sells") and len(one.out) == 109
    two = in_turn(2, [*words], [*words, "--set", "plan.cuts=[1]"])
    for many in (*two, quick(3, *words, "--threads", "2")):
        assert many.status == 0, many.err
        assert many.out == one.out
    assert len(two) == 2


def test_more_ranks_than_layers(checkpoint):
    words = "generate", checkpoint, "sea", "--count", "5"
    many = quick(5, *words)
    assert many.status == 0, many.err
    assert many.out == alone(*words).out


def test_a_refusal_is_one_line(checkpoint):
    ended = quick(2, "generate", checkpoint, "She")
    assert ended.status == 2 and ended.out == ""
    (line,) = ended.said
    assert "PROMPT: the character 'S' (line 1, column 1)" in line


@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_ends_all(checkpoint, rank):
    ended = run(3, "generate", checkpoint, "she", mishap=("place", rank))
    assert ended.status == 1 and ended.seconds < 75  # an error, never a hang
    (head,) = [line for line in ended.said if line.startswith("###")]
    assert f"rank {rank} of 3 on host" in head and "places 7 to 7" in head
    assert "PlantedError: at a place" in ended.err and tracebacks(ended.err) == 1
    assert ended.out.startswith("she") and len(ended.out) == 3 + 5  # the fifth is run as place 7
