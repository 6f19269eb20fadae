"""Settings on the command line: `--set KEY=VALUE`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import JobError
from mpipipe.job import (
    TrainSettings,
    job_from_text,
)

from .reading import job_with, refusal


@pytest.mark.parametrize(
    ("setting", "table", "key", "value"),
    [
        ("train.batch=256", "train", "batch", 256),
        ("train.batch = 1_000", "train", "batch", 1000),
        ("train.learning_rate=1e-3", "train", "learning_rate", 0.001),
        ("train.learning_rate=1", "train", "learning_rate", 1.0),
        ("train.optimizer=sgd", "train", "optimizer", "sgd"),
        ('train.optimizer="sgd"', "train", "optimizer", "sgd"),
        ("train.optimizer='sgd'", "train", "optimizer", "sgd"),
        ("data.path=/tmp/some file.csv", "data", "path", "/tmp/some file.csv"),
        ("data.path=a=b", "data", "path", "a=b"),
        ("data.path=", "data", "path", ""),
        ("data.target=12", "data", "target", None),
        ('data.target="12"', "data", "target", "12"),
        ("data.validation=0.2", "data", "validation", 0.2),
        ("data.validation=0", "data", "validation", 0.0),
        ("data.validation=held.csv", "data", "validation", "held.csv"),
        ("plan.ranks=4", "plan", "ranks", 4),
        ("plan.ranks=auto", "plan", "ranks", "auto"),
        ("plan.cuts=[2, 5]", "plan", "cuts", (2, 5)),
        ("plan.cuts=[]", "plan", "cuts", ()),
        ("run.stall_s=5", "run", "stall_s", 5.0),
    ],
)
def test_set_values(setting, table, key, value):
    if value is None:
        assert f"{table}.{key}" in refusal(setting)
        return
    got = getattr(getattr(job_with(setting), table), key)
    assert got == value
    assert type(got) is type(value)


def test_later_sets_win_over_earlier_and_over_the_text():
    text = "[train]\nsteps = 9\nbatch = 64\n"
    job = job_from_text(text, "my.toml", ["train.batch=96", "train.batch=99"])
    assert (job.train.steps, job.train.batch) == (9, 99)


def test_set_of_whole_tables():
    assert job_from_text("", "x", ["train={steps=2, batch=64}"]).train == TrainSettings(steps=2, batch=64)
    assert job_with('model.layers=[{kind="relu"}]').model.layers == ({"kind": "relu"},)


@pytest.mark.parametrize("setting", ["train.batch", "=3", "", "batch"])
def test_set_without_key_or_value(setting):
    assert "no KEY=VALUE" in refusal(setting)


def test_set_through_what_is_no_table():
    message = refusal("model.layers.outputs=3", text='[[model.layers]]\nkind = "relu"\n')
    assert "'layers' is not a table" in message
    assert "'batch' is not a table" in refusal("train.batch.x=1", text="[train]\nbatch = 64\n")


@settings(deadline=None)
@given(text=st.text(max_size=20))
def test_no_set_text_ends_in_anything_but_a_job_or_a_job_error(text):
    for setting in (text, f"data.path={text}", f"train.batch={text}", f"train.learning_rate={text}"):
        try:
            job_with(setting)
        except JobError as error:
            assert str(error)
