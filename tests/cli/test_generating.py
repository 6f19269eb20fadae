"""The generate command on one rank: the text alone on standard output, and what is refused."""

import numpy as np
import pytest

from .running import Desk, newest, settings

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 12
JOB = """
[model]
layers = [
    { kind = "embedding", tokens = 40, width = 8 },
    { kind = "transformer", width = 8, heads = 2 },
    { kind = "linear", outputs = 40 },
]

[data]
path = "text.txt"
context = 16

[train]
steps = 2
batch = 8
micro_batch = 4
learning_rate = 0.01
"""
FLAT = 'model.layers=[{kind="embedding",tokens=40,width=4},{kind="flatten"},{kind="linear",outputs=40}]'


@pytest.fixture(scope="module")
def writer(shell, tmp_path_factory):
    """A folder with runs of small models: of characters, of bytes, of numbers, and one that cannot generate."""
    desk = Desk(shell, tmp_path_factory.mktemp("writer"))
    desk.write("text.toml", JOB)
    desk.write("text.txt", TEXT)
    numbers = np.random.default_rng(1).integers(0, 40, (20, 17))
    np.savez(desk.folder / "numbers.npz", x=numbers[:, :-1], y=numbers[:, 1:])
    np.savez(desk.folder / "last.npz", x=numbers[:, :-1], y=numbers[:, -1])
    desk.train("characters", job="text.toml")
    wide = JOB.replace("= 40", "= 256")
    desk.write("wide.toml", wide)
    desk.train("bytes", 'data.tokens="bytes"', job="wide.toml")
    desk.train("numbers", "data.path=numbers.npz", job="text.toml")
    desk.train("flat", "data.path=last.npz", FLAT, job="text.toml")
    desk.train("digits")
    return desk


def checkpoint(writer, run="characters"):
    return newest(writer.folder / run)


def test_a_prompt_and_what_follows(writer):
    out = writer.does("generate", checkpoint(writer), "the dog", "--count", 50)
    assert out.startswith("the dog") and len(out) == 7 + 50 and set(out) <= set(TEXT)
    assert len(writer.does("generate", checkpoint(writer), "the dog")) == 7 + 200


def test_nothing_else_is_said(writer):
    ended = writer("generate", checkpoint(writer), "the dog", "--count", 3, "--quiet")
    assert (ended.status, ended.err, len(ended.out)) == (0, "", 10)


def test_the_same_text_again_and_over_any_threads(writer):
    once = writer.does("generate", checkpoint(writer), "fox", "--count", 60)
    assert once == writer.does("generate", checkpoint(writer), "fox", "--count", 60, "--threads", 3)
    assert once[:33] == writer.does("generate", checkpoint(writer), "fox", "--count", 30)
    assert once != writer.does("generate", checkpoint(writer), "fox", "--count", 60, "--seed", 2)


def test_greedy(writer):
    greedy = writer.does("generate", checkpoint(writer), "fox", "--temperature", 0, "--seed", 5)
    assert greedy == writer.does("generate", checkpoint(writer), "fox", "--top-k", 1, "--temperature", 7)
    assert greedy == writer.does("generate", checkpoint(writer), "fox", "--top-p", 1e-9)


@pytest.mark.parametrize("prompt", ["t", "the quick brown ", "the quick brown f", TEXT])
def test_prompts_of_any_length(writer, prompt):
    out = writer.does("generate", checkpoint(writer), prompt, "--count", 20)
    assert out.startswith(prompt) and len(out) == len(prompt) + 20


def test_a_prompt_that_begins_with_a_dash(shell, tmp_path):
    desk = Desk(shell, tmp_path)
    desk.write("text.txt", TEXT.replace("the", "-a"))
    desk.write("text.toml", JOB)
    path = newest(desk.train("run", job="text.toml"))
    assert desk.does("generate", path, "--count", 4, "--", "-a dog").startswith("-a dog")
    desk.refuses("generate", path, "-a dog")


def test_bytes(writer, tmp_path):
    place = tmp_path / "out"
    writer.does("generate", checkpoint(writer, "bytes"), "né", "--count", 100, "--temperature", 3, out=str(place))
    content = place.read_bytes()
    assert content.startswith("né".encode()) and len(content) == 3 + 100 and max(content) > 127


def test_numbers(writer):
    out = writer.does("generate", checkpoint(writer, "numbers"), " 3 1\n4", "--count", 30)
    assert out.startswith("3 1 4 ")
    numbers = [int(word) for word in out.split(" ")]
    assert len(numbers) == 33 and max(numbers) < 40


@pytest.mark.parametrize(
    ("run", "prompt", "text"),
    [
        ("characters", "", "PROMPT: is empty; needed: something to go on from; give at least one character"),
        ("characters", "the cät", "PROMPT: the character 'ä' (line 1, column 6), which the model was not trained on"),
        ("numbers", "1 two", "PROMPT: token 'two', number 2 of the prompt; needed: whole numbers from 0 to 39"),
        ("numbers", "1 40", "PROMPT: token 40, number 2 of the prompt; needed: whole numbers from 0 to 39"),
        ("numbers", "  ", "PROMPT: is empty; needed: at least one token"),
        ("digits", "1 2", "layer 000_linear: is of kind linear; needed: an embedding as the first layer, to generate"),
        ("flat", "1 2", "layer 001_flatten: layer of kind flatten: it mixes the places of a sequence; needed: a layer"),
    ],
)
def test_what_cannot_be_generated(writer, run, prompt, text):
    assert writer.refuses("generate", checkpoint(writer, run), prompt).startswith(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--count", 0], "--count: 0; needed: 1 or more"),
        (["--count", "-3"], "--count: '-3'; needed: a whole number"),
        (["--count", "many"], "--count: 'many'; needed: a whole number"),
        (["--temperature", "-0.1"], "--temperature: -0.1; needed: a number from 0"),
        (["--temperature", "nan"], "--temperature: nan; needed: a number from 0"),
        (["--temperature", "inf"], "--temperature: inf; needed: a number from 0"),
        (["--temperature", "warm"], "--temperature: 'warm'; needed: a number"),
        (["--top-k", "-1"], "--top-k: '-1'; needed: a whole number"),
        (["--top-p", 0], "--top-p: 0; needed: a probability above 0, and at most 1"),
        (["--top-p", 1.01], "--top-p: 1.01; needed: a probability above 0, and at most 1"),
        (["--top-p", "nan"], "--top-p: nan; needed: a probability above 0, and at most 1"),
        (["--seed", "-1"], "--seed: '-1'; needed: a whole number"),
        (settings("plan.ranks=2"), "plan.ranks: 2; needed: at most the 1 rank"),
    ],
)
def test_bad_values(writer, options, text):
    assert text in writer.refuses("generate", checkpoint(writer), "the dog", *options)


def test_nobody_reads(writer):
    ended = writer("generate", checkpoint(writer), "the dog", out="a pipe that nobody reads")
    assert ended.status == 2 and "standard output: cannot be written (Broken pipe)" in ended.err
