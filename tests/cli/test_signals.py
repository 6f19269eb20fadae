"""A run that is told to stop by a signal, in any moment."""

import os
import re
import signal
import time

import pytest

from mpipipe.report.timeline import read_timeline

from .running import checkpoints, metrics, newest, settings, summary, tree

ENDLESS = "train.steps=1000000"


def begin(desk, *sets, rows=3, **more):
    """An endless run, once it has done some steps; the number of its process."""
    arguments = ["train", "tiny.toml", "--out", "run", *settings(ENDLESS, *sets)]
    child = desk.shell.start(desk.folder, arguments, **more)
    log, late = desk.folder / "run/metrics.csv", time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") <= rows:
        assert time.monotonic() < late
        time.sleep(0.02)
    return child


def interrupt(desk, child, number=signal.SIGINT, times=frozenset({"timeline.npz"})):
    """Send the signal; the last line on standard error. `times` is the file of those that are known by then."""
    sent = time.monotonic()
    os.kill(child, number)
    ended = desk.shell.end()
    assert ended.status == 130, ended
    assert time.monotonic() - sent < 30
    *before, last = ended.err.splitlines()
    assert all(re.match("epoch |saved |step-.*: saving paused|the run was told", line) for line in before), ended.err
    files = {"checkpoints", "cluster.json", "job.toml", "metrics.csv", "plan.json"}
    run = desk.folder / "run"
    assert {path.name for path in run.iterdir()} == files.union(times)
    assert all(name.endswith(".h5") for name in checkpoints(run))
    return last


def test_interrupted(desk):
    last = interrupt(desk, begin(desk))
    assert re.fullmatch(r"mpipipe: (error: )?interrupted after step \d+; no checkpoint had been written.*", last)
    assert checkpoints(desk.folder / "run") == []


def test_interrupted_with_checkpoints(desk):
    last = interrupt(desk, begin(desk, "run.checkpoint_every=2", rows=8))
    run = desk.folder / "run"
    assert 1 <= len(checkpoints(run)) <= 4
    said = r"mpipipe: (?:error: )?interrupted after step \d+; the newest checkpoint is (\S+); go on with: (.*)"
    named, how = re.fullmatch(said, last).groups()
    assert (desk.folder / named).exists() and how == "python -m mpipipe train --resume --out run"
    desk.does("train", "--resume", "--out", "run", "--quiet", *settings("run.stop_after=2"))
    assert summary(run)["checkpoint"] == newest(run).name


def test_interrupted_while_saving(desk):
    # one step is done, and its checkpoint has seconds to go
    child = begin(desk, "run.checkpoint_every=1", rows=1, mishap="slow_disk")
    time.sleep(0.3)
    interrupt(desk, child)
    assert checkpoints(desk.folder / "run") == []
    assert list(read_timeline(desk.folder / "run/timeline.npz").steps) == [1]


@pytest.mark.parametrize("mishap", ["slow_take", "slow_read"])
def test_interrupted_while_workers_work(desk, mishap):
    child = begin(desk, rows=0, mishap=mishap)
    time.sleep(0.5)
    interrupt(desk, child, times=())


def test_a_fault_while_saving_is_no_hang(desk):
    sets = ("train.optimizer=sgd", "train.learning_rate=1e30", "run.checkpoint_every=1")
    ended = desk("train", "tiny.toml", "--out", "run", "--quiet", *settings(*sets), mishap="slow_disk")
    assert ended.status == 1 and ended.seconds < 60, ended
    assert ended.err.startswith("mpipipe: error: step 2, micro-batch") and ended.err.count("\n") == 1
    assert checkpoints(desk.folder / "run") == []


def test_save_and_stop(desk):
    child = begin(desk)
    os.kill(child, signal.SIGUSR1)
    ended = desk.shell.end()
    assert ended.status == 0, ended
    run = desk.folder / "run"
    told, rows = summary(run), metrics(run)
    assert told["stopped"] == "interrupted" and told["steps"] == len(rows)
    assert checkpoints(run) == [told["checkpoint"]] == [f"step-{len(rows):08d}.h5"]
    assert "stopped before the end; go on with: python -m mpipipe train --resume --out run" in ended.out
    before = tree(run / "checkpoints")
    desk.does("train", "--resume", "--out", "run", "--quiet", *settings("run.stop_after=1"))
    assert [row["step"] for row in metrics(run)] == [str(step + 1) for step in range(len(rows) + 1)]
    assert before.items() <= tree(run / "checkpoints").items()
    assert summary(run)["stopped"] == "stop_after"


def test_term_saves_and_stops_with_a_status(desk):
    outcome = desk.folder / "outcome"
    child = begin(desk, variables={"MPIPIPE_OUTCOME": str(outcome)})
    os.kill(child, signal.SIGTERM)
    ended = desk.shell.end()
    assert ended.status == 130, ended
    run = desk.folder / "run"
    assert "the run was told to end (TERM): saving a checkpoint, then stopping" in ended.out + ended.err
    assert checkpoints(run) == [summary(run)["checkpoint"]] == [f"step-{len(metrics(run)):08d}.h5"]
    assert outcome.read_text() == "ready\nfolder run\nstopped interrupted\nended 130\n"


def test_int_ends_what_term_began_to_save(desk):
    child = begin(desk, "run.checkpoint_every=1", rows=1, mishap="slow_disk")
    os.kill(child, signal.SIGTERM)
    time.sleep(0.3)
    interrupt(desk, child)
    assert checkpoints(desk.folder / "run") == []


def test_save_and_stop_with_a_checkpoint_under_way(desk):
    child = begin(desk, "run.checkpoint_every=3", "run.keep=1", rows=2)
    os.kill(child, signal.SIGUSR1)
    ended = desk.shell.end()
    assert ended.status == 0, ended
    run = desk.folder / "run"
    assert checkpoints(run) == [summary(run)["checkpoint"]] == [f"step-{len(metrics(run)):08d}.h5"]
