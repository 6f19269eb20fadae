"""The kernel that a run computes with: named in its job, kept when it is gone on with, and said where it is not had."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mpipipe.job import Job, job_from_text, read_job
from mpipipe.start import Request, Start, find_start
from mpipipe.survey import with_kernel

from .running import newest

TINY = "tiny.toml"


def start(kernel):
    job = Job()
    return Start(replace(job, train=replace(job.train, kernel=kernel)), None, None, ("before",))


@pytest.mark.parametrize(
    ("wanted", "had", "named"),
    [("auto", "Haswell", "Haswell"), ("auto", "", "auto"), ("Haswell", "Haswell", "Haswell")],
)
def test_the_job_names_the_kernel_that_was_chosen(wanted, had, named):
    started = with_kernel(start(wanted), had)
    assert started.job.train.kernel == named and started.notices == ("before",)


@pytest.mark.parametrize(("had", "words"), [("Haswell", "they use Haswell"), ("", "what they were started with")])
def test_a_kernel_that_not_all_ranks_have_is_said(had, words):
    started = with_kernel(start("SkylakeX"), had)
    assert started.job.train.kernel == "SkylakeX", "the checkpoint still tells what the job wants"
    notice = started.notices[-1]
    assert started.notices[0] == "before" and len(started.notices) == 2
    assert "SkylakeX" in notice and words in notice and "last bits" in notice


def kernel_in(folder):
    text = (Path(folder) / "job.toml").read_text(encoding="utf-8")
    return job_from_text(text, "job.toml").train.kernel


def test_a_run_tells_its_kernel_and_going_on_keeps_it(desk, trained, monkeypatch):
    """Although the job to go on with does not name one."""
    monkeypatch.chdir(desk.folder)
    chosen = kernel_in(trained)
    assert chosen == os.environ.get("OPENBLAS_CORETYPE", chosen) != "auto"
    again = find_start(Request(resume=True, checkpoint=str(newest(trained))))
    assert again.job.train.kernel == chosen
    assert read_job(TINY).train.kernel == "auto"
    by_job = find_start(Request(job=TINY, resume=True, checkpoint=str(newest(trained))))
    assert by_job.job.train.kernel == chosen
    other = find_start(Request(sets=("train.kernel=SkylakeX",), resume=True, checkpoint=str(newest(trained))))
    assert other.job.train.kernel == "SkylakeX"


def test_a_wish_that_cannot_be_had_is_a_notice(desk):
    """Where a kernel is named in the environment, the one that ranks have is left alone."""
    named = {"OPENBLAS_CORETYPE": "Haswell"}
    desk.does("train", TINY, "--out", "had", "--set", "train.steps=1", variables=named)
    other = "Haswell" if kernel_in(desk.folder / "had") != "Haswell" else "SkylakeX"
    sets = ("--set", f"train.kernel={other}", "--set", "train.steps=1")
    out = desk.does("train", TINY, "--out", "run", *sets, variables=named)
    assert f"the job wants the BLAS kernel {other}, but OPENBLAS_CORETYPE is set in the environment" in out
    assert kernel_in(desk.folder / "run") == other


def test_a_kernel_that_nobody_knows_is_refused(desk):
    text = desk.refuses("train", TINY, "--out", "run", "--set", "train.kernel=Hasvell")
    assert "train.kernel: 'Hasvell'" in text and "did you mean 'Haswell'?" in text
