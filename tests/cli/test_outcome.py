"""What a run writes to the file that MPIPIPE_OUTCOME names, for the script that started it."""

import os
import signal

from .running import settings
from .test_signals import begin


def test_a_run_that_finished(desk):
    outcome = desk.folder / "outcome"
    desk.does("train", "tiny.toml", "--out", "run", variables={"MPIPIPE_OUTCOME": str(outcome)})
    assert outcome.read_text() == "ready\nfolder run\nstopped finished\nended 0\n"


def test_a_run_with_nothing_left_to_do(desk):
    outcome = desk.folder / "outcome"
    desk.train("run")
    desk.does("train", "--resume", "--out", "run", variables={"MPIPIPE_OUTCOME": str(outcome)})
    assert outcome.read_text() == "ready\nfolder run\nstopped finished\nended 0\n"


def test_a_run_that_was_asked_to_stop(desk):
    outcome = desk.folder / "outcome"
    child = begin(desk, variables={"MPIPIPE_OUTCOME": str(outcome)})
    os.kill(child, signal.SIGUSR1)
    assert desk.shell.end().status == 0
    assert outcome.read_text() == "ready\nfolder run\nstopped interrupted\nended 0\n"


def test_a_run_that_was_interrupted_or_killed(desk):
    for number, ended in ((signal.SIGINT, "ended 130\n"), (signal.SIGKILL, "")):
        outcome = desk.folder / f"outcome-{number}"
        child = begin(desk, variables={"MPIPIPE_OUTCOME": str(outcome)})
        os.kill(child, number)
        desk.shell.end()
        assert set(outcome.read_text().splitlines(keepends=True)) == {"ready\n", "folder run\n", ended} - {""}
        for file in sorted((desk.folder / "run").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


def test_a_mistake(desk):
    outcome = desk.folder / "outcome"
    ended = desk("train", "tiny.toml", *settings("train.batch=0"), variables={"MPIPIPE_OUTCOME": str(outcome)})
    assert ended.status == 2
    assert outcome.read_text() == "ready\nended 2\n"


def test_an_outcome_that_cannot_be_written_ends_no_run(desk):
    desk.does("train", "tiny.toml", "--out", "run", variables={"MPIPIPE_OUTCOME": str(desk.folder / "none/outcome")})
