"""Going on, or evaluating, with other settings or other data than before: every difference that counts is said, and no
other."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.changes import COUNTS_WHERE, UNSEEN, changed_data, changed_settings
from mpipipe.data import Identity
from mpipipe.job import Job, TrainSettings, job_from_text
from mpipipe.layers import learning_rate

from .running import JOB, metrics, newest, settings

BASE = job_from_text(JOB, "job").train
OTHER = {
    "epochs": 7, "steps": 9, "batch": 64, "micro_batch": 16, "tile_rows": 64, "kernel": "Nehalem", "optimizer": "sgd",
    "learning_rate": 0.1, "momentum": 0.5, "beta1": 0.5, "beta2": 0.5, "epsilon": 1e-3, "weight_decay": 0.5,
    "rate_schedule": "cosine", "warmup_steps": 3, "rate_step": 2, "rate_factor": 0.5, "rate_floor": 1e-4,
    "clip_norm": 0.5, "seed": 2,
}  # fmt: skip
RATES = {"rate_step", "rate_factor", "rate_floor"}
FOLLOWED = ("learning_rate", "rate_schedule", "warmup_steps", "rate_step", "rate_factor", "rate_floor", "steps")


def said(old, new, step=2, totals=(4, 4)):
    notices = changed_settings(Job(train=old), Job(train=new), step, totals)
    return notices[0].split(" changed")[0].split(", ") if notices else []


def test_a_new_setting_counts_unless_it_is_named_with_a_reason():
    assert set(OTHER) == {one.name for one in fields(TrainSettings)} >= set(COUNTS_WHERE)
    assert set(UNSEEN) <= {one.name for one in fields(Job)} and all(UNSEEN.values())
    for name in set(OTHER) - set(COUNTS_WHERE):
        assert said(BASE, replace(BASE, **{name: OTHER[name]})) == [f"train.{name}"]


@pytest.mark.parametrize(
    ("keys", "counting"),
    [
        ({}, {"beta1", "beta2", "epsilon"}),
        ({"optimizer": "sgd"}, {"momentum"}),
        ({"optimizer": "sgd", "rate_schedule": "step", "rate_step": 3}, {"momentum"} | RATES),
        ({"rate_schedule": "cosine"}, {"beta1", "beta2", "epsilon", "rate_floor", "steps", "epochs"}),
    ],
)  # fmt: skip
def test_settings_that_others_look_at_count_where_they_do(keys, counting):
    old = replace(BASE, **keys)
    for name in COUNTS_WHERE:
        new, totals = replace(old, **{name: OTHER[name]}), (4, 9 if name in ("steps", "epochs") else 4)
        assert said(old, new, totals=totals) == ([f"train.{name}"] if name in counting else [])


def test_the_same_length_said_otherwise_is_none():
    old = replace(BASE, rate_schedule="cosine", steps=24)
    assert said(old, replace(old, steps=0, epochs=2), totals=(24, 24)) == []


@given(st.data())
def test_a_rate_that_will_be_another_is_always_said(data):
    draw = data.draw
    rates = st.builds(
        lambda **keys: replace(BASE, **keys),
        learning_rate=st.sampled_from([0.1, 0.2]), rate_schedule=st.sampled_from(["constant", "cosine", "step"]),
        warmup_steps=st.integers(0, 4), rate_step=st.integers(1, 4), rate_factor=st.sampled_from([0.5, 0.1]),
        rate_floor=st.sampled_from([0.0, 0.01]), steps=st.integers(8, 10),
    )  # fmt: skip
    old, new, step = draw(rates), draw(rates), draw(st.integers(0, 7))
    steps = range(step, min(old.steps, new.steps))
    if [learning_rate(old, one, old.steps) for one in steps] != [learning_rate(new, one, new.steps) for one in steps]:
        assert {f"train.{name}" for name in FOLLOWED} & set(said(old, new, step, (old.steps, new.steps)))


def test_a_long_job_takes_no_time():
    old = replace(BASE, steps=10**9)
    assert said(old, replace(old, steps=2 * 10**9), totals=(10**9, 2 * 10**9)) == []


@pytest.mark.parametrize(
    "sets", ["plan.schedule=gpipe", "run.keep=9", "run.validate_every=1", "name=other", "data.path=./digits"]
)
def test_what_changes_no_bit_is_not_said(sets):
    old, new = job_from_text(JOB, "job"), job_from_text(JOB, "job", (sets,))
    assert old != new and changed_settings(old, new, 2, (4, 4)) == []
    assert changed_data(Identity(), Identity(), old, new) == []


def test_a_checkpoint_that_does_not_know_its_samples_is_compared_by_words():
    old, new = job_from_text(JOB, "job"), job_from_text(JOB, "job", ("data.validation=0.5", "data.path=other.npz"))
    (notice,) = changed_data(Identity(), Identity(train=1, samples="some"), old, new)
    assert notice.startswith("data.path, data.validation changed since the checkpoint")


def test_a_setting_that_cannot_be_heeded_is_said(desk, trained):
    out = desk.does("train", "--resume", trained, "--out", "new", *settings("train.steps=5", "data.scale=none"))
    assert "notice: data.scale = none has no effect" in out
    desk.does("train", "--resume", trained, "--out", "same", "--quiet", *settings("train.steps=5"))
    assert metrics(desk.folder / "new")[-1]["loss"] == metrics(desk.folder / "same")[-1]["loss"]


@pytest.fixture
def rows(desk):
    """A data set under the name rows.npz, and a run that was stopped half way."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(700, 64)), generator.integers(0, 10, 700)
    np.savez(desk.folder / "rows.npz", x=x, y=y)
    desk.does("train", "tiny.toml", "--data", "rows.npz", "--out", "half", "--quiet", *settings("run.stop_after=2"))
    return x, y


def notices(desk, *arguments):
    ended = desk(*arguments, "--quiet")
    assert ended.status == 0, ended
    return [line for line in ended.err.splitlines() if "notice" in line]


def test_other_data_under_one_name(desk, rows):
    x, y = rows
    commands = ("evaluate", newest(desk.folder / "half")), ("train", "--resume", "half", "--out", "more")
    assert [notices(desk, *command) for command in commands] == [[], []]
    for name, other in (("fewer", (x[:-5], y[:-5])), ("relabelled", (x, (y + 1) % 10))):
        np.savez(desk.folder / "rows.npz", x=other[0], y=other[1])
        for command in (commands[0], ("train", "--resume", "half", "--out", name)):
            (notice,) = notices(desk, *command)
            assert "rows.npz is not what the model was trained on" in notice


def test_moved_data(desk, rows):
    (desk.folder / "moved").mkdir()
    (desk.folder / "rows.npz").rename(desk.folder / "moved/rows.npz")
    checkpoint = newest(desk.folder / "half")
    assert desk.refuses("evaluate", checkpoint).endswith("another place is given by --data")
    assert notices(desk, "train", "--resume", "half", "--out", "go", "--data", "./moved/rows.npz") == []
    (notice,) = notices(desk, "evaluate", checkpoint, "--data", "moved/rows.npz")
    assert (
        "560 of these samples were trained on; to count only the 140 held back, give --set data.path=moved/rows.npz"
        in notice
    )
    assert notices(desk, "evaluate", checkpoint, "--set", "data.path=moved/rows.npz") == []
    (desk.folder / "moved/rows.npz").rename(desk.folder / "rows.npz")
    assert "leave out --data" in notices(desk, "evaluate", checkpoint, "--data", "rows.npz")[0]
    np.savez(desk.folder / "new.npz", x=rows[0] + 1, y=rows[1])
    assert notices(desk, "evaluate", checkpoint, "--data", "new.npz") == []
