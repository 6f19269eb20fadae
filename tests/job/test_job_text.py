"""A job to TOML and back, for any settings."""

import dataclasses
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.job import (
    DataSettings,
    Job,
    ModelSettings,
    PlanSettings,
    RunSettings,
    TrainSettings,
    job_from_text,
    job_to_text,
)
from mpipipe.job.settings import OPTIMIZERS, RATE_SCHEDULES, SCALES, SCHEDULES, check

from .reading import job_with

names = st.text(max_size=12)
counts = st.integers(0, 10**6)
fractions = st.floats(0, 1, exclude_max=True)
numbers = st.floats(0, 1e9)
above_zero = st.floats(1e-300, 1e300)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), names),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
lengths = st.one_of(
    st.tuples(st.integers(1, 999), st.just(0)),
    st.tuples(st.just(0), st.integers(1, 999)),
)


@st.composite
def trains(draw):
    epochs, steps = draw(lengths)
    batch = draw(st.integers(1, 4096))
    return TrainSettings(
        epochs=epochs,
        steps=steps,
        batch=batch,
        micro_batch=draw(st.integers(1, batch)),
        tile_rows=draw(st.integers(1, 9999)),
        optimizer=draw(st.sampled_from(OPTIMIZERS)),
        learning_rate=draw(above_zero),
        momentum=draw(fractions),
        beta1=draw(fractions),
        beta2=draw(fractions),
        epsilon=draw(above_zero),
        weight_decay=draw(numbers),
        rate_schedule=draw(st.sampled_from(RATE_SCHEDULES)),
        warmup_steps=draw(counts),
        rate_step=draw(st.integers(1, 999)),
        rate_factor=draw(fractions.filter(bool)),
        rate_floor=draw(numbers),
        clip_norm=draw(numbers),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


jobs = st.builds(
    Job,
    name=names,
    model=st.builds(
        ModelSettings,
        layers=st.lists(st.dictionaries(names, values, max_size=3), max_size=3).map(tuple),
        loss=names,
    ),
    data=st.builds(
        DataSettings,
        path=names,
        target=names,
        validation=st.one_of(fractions, names),
        scale=st.sampled_from(SCALES),
    ),
    train=trains(),
    plan=st.builds(
        PlanSettings,
        schedule=st.sampled_from(SCHEDULES),
        ranks=st.one_of(st.sampled_from(["all", "auto"]), st.integers(1, 64)),
        cuts=st.sets(st.integers(1, 99), max_size=5).map(lambda cuts: tuple(sorted(cuts))),
        in_flight=counts,
    ),
    run=st.builds(
        RunSettings,
        threads=st.integers(0, 1024),
        checkpoint_every=counts,
        checkpoint_minutes=numbers,
        keep=st.integers(1, 99),
        validate_every=counts,
        stop_after=counts,
        stall_s=above_zero,
    ),
)


@settings(max_examples=80, deadline=None)
@given(job=jobs)
def test_a_job_reads_back_from_its_text_equal(job):
    assert check(job, "") is job
    assert job_from_text(job_to_text(job), "again") == job


def test_the_text_has_every_key():
    table = tomllib.loads(job_to_text(job_with()))
    for name, settings_class in [("train", TrainSettings), ("plan", PlanSettings), ("run", RunSettings)]:
        assert set(table[name]) == {field.name for field in dataclasses.fields(settings_class)}
    assert table["train"]["learning_rate"] == 0.001
