"""The kernel that a run computes with: named in its job, kept when it is gone on with, and said where it is not had."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from needs import missing

from mpipipe.job import Job, job_from_text, read_job
from mpipipe.report import RunFolder
from mpipipe.resources import Cluster, Host, arithmetic, current_kernel
from mpipipe.resources.kernels import CHOICES
from mpipipe.resume import Start, find_start
from mpipipe.start import Request
from mpipipe.survey import changed_rounding, with_kernel

from .running import JOB, environment, newest

TINY = "tiny.toml"


def start(kernel):
    job = Job()
    return Start(replace(job, train=replace(job.train, kernel=kernel)), None, RunFolder(Path("run")), ("before",))


def start_of(request):
    with ExitStack() as stack:
        return find_start(request, stack)


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


@pytest.mark.parametrize("key", ["kernel", "numpy", "blas"])
def test_a_checkpoint_of_hosts_that_round_otherwise_is_said(key):
    here = Host(0, "a", "", 1, 1, 1, 1.0, 1.0, blas="openblas 1", kernel="Haswell/X86_V3", numpy="2.4")
    hosts = Cluster((here, replace(here, rank=1)))
    written = arithmetic(hosts)
    assert changed_rounding(json.dumps(written), hosts) == changed_rounding('{"mpi": "other"}', hosts) == []
    (notice,) = changed_rounding(json.dumps({**written, key: "another"}), hosts)
    assert f"computed with {key} another (now {written[key]})" in notice and "last bits" in notice


def test_what_a_job_leaves_open_is_kept_when_a_run_is_resumed(desk, monkeypatch):
    """A micro-batch that was chosen by measuring is not chosen anew, although the job leaves it open again."""
    open_ended = ("--set", "train.micro_batch=0", "--set", "run.stop_after=2")
    desk.does("train", TINY, "--out", "run", *open_ended)
    monkeypatch.chdir(desk.folder)
    first = job_from_text(Path("run/job.toml").read_text(encoding="utf-8"), "job.toml").train
    request = Request(job=TINY, sets=("train.micro_batch=0",), resume=True, checkpoint=str(newest(Path("run"))))
    again = start_of(request)
    assert again.job.train.micro_batch == first.micro_batch > 0
    assert not any("micro_batch changed" in notice for notice in again.notices)
    smaller = start_of(replace(request, sets=("train.micro_batch=0", "train.batch=2")))
    assert smaller.job.train.micro_batch == min(2, first.micro_batch)


def kernel_in(folder):
    text = (Path(folder) / "job.toml").read_text(encoding="utf-8")
    return job_from_text(text, "job.toml").train.kernel


def test_a_run_tells_its_kernel_and_going_on_keeps_it(desk, trained, monkeypatch):
    """Although the job to go on with does not name one."""
    monkeypatch.chdir(desk.folder)
    chosen = kernel_in(trained)
    assert chosen == os.environ.get("OPENBLAS_CORETYPE", chosen) != "auto"
    again = start_of(Request(resume=True, checkpoint=str(newest(trained))))
    assert again.job.train.kernel == chosen
    assert read_job(TINY).train.kernel == "auto"
    by_job = start_of(Request(job=TINY, resume=True, checkpoint=str(newest(trained))))
    assert by_job.job.train.kernel == chosen
    other = start_of(Request(sets=("train.kernel=SkylakeX",), resume=True, checkpoint=str(newest(trained))))
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


def test_a_kernel_that_the_environment_fixes_is_said_and_kept(desk):
    free = desk.does("train", TINY, "--out", "free", "--set", "train.steps=1", variables={})
    named = {"OPENBLAS_CORETYPE": current_kernel()}
    out = desk.does("train", TINY, "--out", "run", "--set", "train.steps=1", variables=named)
    said = f"OPENBLAS_CORETYPE in the environment fixes the BLAS kernel: {kernel_in(desk.folder / 'run')}"
    assert said in out and said not in free


@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_kernel_of_the_environment_that_this_cpu_cannot_run_is_one_line(tmp_path, command):
    """And not the end by an illegal instruction."""
    able = json.loads(python("import json, mpipipe.resources as r; print(json.dumps(r.kernels_here().usable))").stdout)
    unable = [name for name in CHOICES if name not in able]
    if able[0] not in CHOICES or not unable:
        missing("an x86 CPU that cannot run every kernel, and an OpenBLAS that can change its own")
    (tmp_path / TINY).write_text(JOB)
    program = "import sys; from mpipipe.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = python(program, command, str(tmp_path / TINY), kernel=unable[0])
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1 and f"OPENBLAS_CORETYPE: {unable[0]}, which" in ended.stderr


def python(program, *arguments, kernel=None):
    env = {name: value for name, value in environment().items() if name != "OPENBLAS_CORETYPE"}
    env |= {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    line = [sys.executable, "-c", program, *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_kernel_that_nobody_knows_is_refused(desk):
    text = desk.refuses("train", TINY, "--out", "run", "--set", "train.kernel=Hasvell")
    assert "train.kernel: 'Hasvell'" in text and "did you mean 'Haswell'?" in text
