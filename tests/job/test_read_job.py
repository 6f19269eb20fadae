"""Jobs from presets and from files."""

import pytest

from mpipipe.errors import JobError
from mpipipe.job import (
    Job,
    TrainSettings,
    job_from_text,
    job_to_text,
    preset_names,
    read_job,
)
from mpipipe.layers import build_layers

from .reading import refusal


def test_there_are_presets():
    assert "digits" in preset_names()
    assert preset_names() == sorted(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_presets_read_and_their_layers_build(name):
    job = read_job(name)
    assert job.name == name
    assert list(build_layers(job.model.layers, "model.layers"))
    assert job_from_text(job_to_text(job), name) == job


def test_sets_apply_to_presets():
    job = read_job("digits", ["train.epochs=0", "train.steps=3", "name=mine"])
    assert (job.train.steps, job.name) == (3, "mine")


def test_a_file_names_its_job(tmp_path):
    path = tmp_path / "small net.toml"
    path.write_text("[train]\nsteps = 4\n", encoding="utf-8")
    assert read_job(str(path)) == Job(name="small net", train=TrainSettings(steps=4))
    path.write_text('name = "other"\n[train]\nsteps = 4\n', encoding="utf-8")
    assert read_job(str(path)).name == "other"


def test_no_such_job():
    with pytest.raises(JobError, match="digts: no such job; .*did you mean 'digits'?"):
        read_job("digts")


def test_a_folder_and_a_binary_file_are_no_jobs(tmp_path):
    with pytest.raises(JobError, match="cannot be read"):
        read_job(str(tmp_path))
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobError, match="cannot be read"):
        read_job(str(tmp_path / "x.toml"))


def test_what_is_not_toml_says_where():
    message = refusal(text="[train\nsteps = 5")
    assert message.startswith("my.toml: not TOML")
    assert "line 1" in message
