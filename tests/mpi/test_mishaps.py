"""An error, never a hang: whatever happens on one rank ends the whole job in seconds, and says where and why."""

import re
import signal
import subprocess
import time

import psutil
import pytest

from .ranks import NOTHING, command, environment, newest, quick, run, settings, tracebacks

pytestmark = pytest.mark.mpi
START_S, END_S = 45, 30
"""Allowed for starting the ranks, and for the end of the job, on a machine however busy: a hang would last longer."""

SIZES = settings(train_epochs=0, train_steps=1000, train_batch=64, train_micro_batch=16, plan_schedule="zb-h1")
JOB = ["train", "digits", *SIZES]


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(("mishap", "action"), [("worker", "I2"), ("main_thread", "")])
def test_an_exception_names_rank_host_stage_and_action(tmp_path, mishap, action, rank):
    ended = run(4, *JOB, "--out", str(tmp_path / "run"), mishap=(mishap, rank))
    assert ended.status == 1
    assert ended.seconds < START_S + END_S
    (head,) = [line for line in ended.said if line.startswith("###")]
    assert f"rank {rank} of 4 on host" in head
    assert "stage" in head
    assert action in head
    assert "PlantedError: in " in ended.err
    assert tracebacks(ended.err) == 1


def test_a_killed_rank_ends_the_job(tmp_path):
    ended = run(3, *JOB, "--out", str(tmp_path / "run"), mishap=("die", 1))
    assert ended.status != 0
    assert ended.seconds < START_S + END_S
    (line,) = ended.said
    assert re.match(r"mpipipe: rank 1 on \S+ \(stage \d\): its process was killed or ended by itself; ", line)


def test_a_silent_rank_is_a_stall(tmp_path):
    ended = run(3, *JOB, *settings(run_stall_s=2), "--out", str(tmp_path / "run"), mishap=("silent", 1))
    assert ended.status == 1
    assert ended.seconds < START_S + END_S
    (line,) = ended.said
    assert re.match(
        r"mpipipe: error: rank 1 on \S+ \(stage \d\): silent for \d+ s; .*nothing arrived for [\d.]+ s", line
    )


def test_a_rank_that_cannot_allocate_ends_the_job_before_training(tmp_path):
    ended = run(3, *JOB, "--out", str(tmp_path / "run"), mishap=("memory", 2))
    assert ended.status == 2
    (line,) = ended.said
    assert "(rank 2)" in line
    assert "bytes" in line
    assert not tracebacks(ended.err)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_unlike_versions_name_the_hosts(tmp_path):
    ended = run(2, *JOB, "--out", str(tmp_path / "run"), mishap=("version", 1))
    assert ended.status == 2
    (line,) = ended.said
    assert "different versions of mpipipe" in line
    assert "0.0.9 on" in line
    assert not (tmp_path / "run").exists()


def test_a_users_mistake_is_one_line_and_status_2(tmp_path):
    ended = run(3, "train", "digits", "--set", "train.epoch=3", "--out", str(tmp_path / "run"))
    assert ended.status == 2
    (line,) = ended.said
    assert "did you mean 'epochs'?" in line
    assert not tracebacks(ended.err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("last", [0, 2])
def test_a_loss_that_is_not_finite_names_step_and_layer(tmp_path, last):
    # Cuts by hand put rank 0 first; the plan of equal hosts puts it last.
    cuts = settings(plan_cuts="[4,9]") if last else []
    options = settings(train_optimizer="sgd", train_learning_rate=1e30, train_clip_norm=0, train_warmup_steps=0)
    ended = quick(3, *JOB, *options, *cuts, "--out", str(tmp_path / "run"))
    assert ended.status == 1
    assert ended.seconds < START_S + END_S
    (line,) = ended.said
    assert "step 2" in line
    assert re.search(r"layer \d{3}_\w+ is the first whose output is not", line)
    assert not tracebacks(ended.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_cleanly(tmp_path, number):
    job, process = start(tmp_path)
    process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < END_S
    assert process.returncode != 0
    assert b"Traceback" not in err
    assert b"mpipipe: interrupted after step" in err
    assert not list(job.glob("checkpoints/*.tmp"))


def test_usr1_saves_and_stops(tmp_path):
    job, process = start(tmp_path)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert newest(job).exists()
    assert b"go on with" in out


@pytest.mark.parametrize("ranks", [(0, 1, 2), (2,)], ids=["all", "one"])
def test_term_to_ranks_saves_and_stops_with_a_status(tmp_path, ranks):
    job, process = start(tmp_path)
    for child in psutil.Process(process.pid).children():
        if child.environ().get("OMPI_COMM_WORLD_RANK") in set(map(str, ranks)):
            child.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert newest(job).exists()
    assert b"go on with" in out
    assert b"was told to end (TERM): saving a checkpoint, then stopping" in out + err
    assert ranks != (2,) or re.search(rb"rank 2 on \S+ \(stage \d\) was told to end", out + err)


def start(tmp_path):
    job = tmp_path / "run"
    process = subprocess.Popen(
        command(3, *JOB, "--out", str(job), mishap=NOTHING),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 60
    while not (job / "metrics.csv").exists() or len((job / "metrics.csv").read_text().splitlines()) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    return job, process
