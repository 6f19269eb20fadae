"""What no job may say, and the words in which it is refused."""

import pytest

from mpipipe.errors import JobError, UserError
from mpipipe.job import (
    job_from_text,
    job_to_text,
)

from .reading import job_with, refusal


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trian.batch=3", ["trian: unknown key", "did you mean 'train'?"]),
        ("train.bacth=3", ["train.bacth: unknown key", "did you mean 'batch'?"]),
        ("train.epoch=3", ["train.epoch: unknown key", "did you mean 'epochs'?"]),
        ("run.xyzzy=3", ["run.xyzzy: unknown key", "known are", "stall_s"]),
        ("train.batch=many", ["train.batch: 'many' is a string", "needed: an integer"]),
        ("train.batch=true", ["train.batch: True is true or false", "needed: an integer"]),
        ("train.batch=2.5", ["train.batch: 2.5 is a number", "needed: an integer"]),
        ("train.batch=1e2", ["train.batch: 100.0", "needed: an integer"]),
        ("train.batch=[1]", ["train.batch: [1] is a list", "needed: an integer"]),
        ("train.batch={a=1}", ["train.batch: {'a': 1} is a table", "needed: an integer"]),
        ("train.batch=nan", ["train.batch: nan", "needed: an integer"]),
        ("train.learning_rate=nan", ["train.learning_rate: nan is not finite", "a finite number"]),
        ("train.learning_rate=inf", ["train.learning_rate: inf is not finite"]),
        ("train.learning_rate=fast", ["train.learning_rate: 'fast'", "needed: a number"]),
        ("train.learning_rate=true", ["train.learning_rate: True", "needed: a number"]),
        ("train.optimizer=3", ["train.optimizer: 3 is an integer", "needed: a string"]),
        ("name=3", ["name: 3 is an integer", "needed: a string"]),
        ("train=3", ["train: 3 is not a table"]),
        ("plan.cuts=3", ["plan.cuts: 3", "needed: a list"]),
        ("plan.cuts=[1, 'x']", ["plan.cuts[1]: 'x' is a string", "needed: an integer"]),
        ("plan.ranks=true", ["plan.ranks: True", "a string or an integer"]),
        ("plan.ranks=1.5", ["plan.ranks: 1.5", "a string or an integer"]),
        ("data.validation=true", ["data.validation: True", "a number or a string"]),
        ("model.layers=3", ["model.layers: 3", "needed: a list"]),
        ("model.layers=[3]", ["model.layers[0]: 3", "needed: a table"]),
    ],
)
def test_wrong_keys_and_types_name_their_place(setting, words):
    message = refusal(setting)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.micro_batch=129", ["train.micro_batch: 129", "train.batch, which is 128", "set train.micro_batch=128"]),
        ("train.optimizer=adma", ["train.optimizer: 'adma'", "sgd, adam, adamw", "did you mean 'adam'?"]),
        ("train.rate_schedule=cos", ["train.rate_schedule: 'cos'", "did you mean 'cosine'?"]),
        ("train.rate_schedule=step", ["train.rate_step: 0"]),
        ("data.scale=std", ["data.scale: 'std'", "none, standard, range"]),
        ("data.tokens=words", ["data.tokens: 'words'", "characters, bytes"]),
        ("data.context=0", ["data.context: 0", "1 or more"]),
        ("data.context=1048577", ["data.context: 1048577", "at most 1048576"]),
        ("plan.schedule=1b1f", ["plan.schedule: '1b1f'", "did you mean '1f1b'?"]),
        ("plan.ranks=most", ["plan.ranks: 'most'", "all, auto or a number of ranks"]),
        ("plan.ranks=0", ["plan.ranks: 0", "1 or more"]),
        ("plan.cuts=[3, 2]", ["plan.cuts: [3, 2]", "ascending"]),
        ("plan.cuts=[2, 2]", ["plan.cuts: [2, 2]", "each once"]),
        ("plan.cuts=[0, 2]", ["plan.cuts: [0, 2]", "above 0"]),
        ("plan.cuts=[-1]", ["plan.cuts: [-1]"]),
        ("data.validation=1", ["data.validation: 1.0", "below 1"]),
        ("data.validation=-0.1", ["data.validation: -0.1"]),
        ("train.momentum=1", ["train.momentum: 1.0", "below 1"]),
        ("train.beta1=-0.1", ["train.beta1: -0.1"]),
        ("train.beta2=1.0", ["train.beta2: 1.0"]),
        ("run.keep=0", ["run.keep: 0", "1 or more"]),
        ("run.stall_s=0", ["run.stall_s: 0.0", "above 0"]),
        ("train.learning_rate=0", ["train.learning_rate: 0.0", "above 0"]),
        ("train.epsilon=0", ["train.epsilon: 0.0", "above 0"]),
    ],
)
def test_values_that_no_run_could_use(setting, words):
    message = refusal(setting)
    assert message.startswith("my.toml: ")
    for word in words:
        assert word in message


def test_the_size_of_micro_batches_may_be_left_open():
    assert "my.toml: train.micro_batch: -1; needed: 0 or more" in refusal("train.micro_batch=-1")


@pytest.mark.parametrize("key", ["batch", "tile_rows"])
@pytest.mark.parametrize("size", [0, -1])
def test_sizes_are_one_or_more(key, size):
    assert f"my.toml: train.{key}: {size}; needed: 1 or more" in refusal(f"train.{key}={size}")


@pytest.mark.parametrize(
    "key",
    [
        *[f"train.{key}" for key in ("epochs", "steps", "warmup_steps", "rate_step", "seed")],
        *[f"train.{key}" for key in ("clip_norm", "weight_decay", "rate_floor")],
        *[f"run.{key}" for key in ("threads", "checkpoint_every", "checkpoint_minutes", "validate_every")],
        *["run.stop_after", "plan.in_flight"],
    ],
)
def test_counts_are_not_negative(key):
    assert f"my.toml: {key}: -1" in refusal(f"{key}=-1")


def test_epochs_or_steps_but_not_both_nor_neither():
    assert job_from_text("", "x", ["train.epochs=1"]).train.epochs == 1
    both = refusal("train.epochs=1", "train.steps=1")
    neither = refusal(good=())
    assert "train.epochs, train.steps: both are set" in both
    assert "set the other to 0" in both
    assert "train.epochs, train.steps: neither is set" in neither


def test_a_factor_of_the_rate_that_no_run_could_use():
    assert "train.rate_factor" in refusal("train.rate_factor=-0.5")


def test_a_fraction_that_is_no_number_says_so():
    assert "finite" in refusal("data.validation=nan")


def test_a_date_is_not_called_a_table():
    message = refusal("train.batch=2020-01-01")
    assert "train.batch" in message
    assert "is a table" not in message


def test_a_date_inside_a_layer_is_refused_as_a_jobs_fault():
    with pytest.raises(JobError):
        job_to_text(job_with('model.layers=[{kind="linear", outputs=2020-01-01}]'))


def test_an_integer_too_large_for_a_float_is_refused():
    assert "train.learning_rate" in refusal("train.learning_rate=1" + "0" * 400)


def test_unknown_keys_name_the_file():
    assert "my.toml" in refusal("train.bacth=3")


def test_job_errors_are_user_errors():
    error = JobError("here", "this", "that", "do so")
    assert isinstance(error, UserError)
    assert str(error) == "here: this; needed: that; do so"
    assert str(JobError("here", "this")) == "here: this"
    assert (error.where, error.found, error.needed, error.remedy) == ("here", "this", "that", "do so")
