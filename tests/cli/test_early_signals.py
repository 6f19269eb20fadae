"""Signals that come before the program can obey them."""

import os
import signal
import subprocess
import sys

import pytest

from mpipipe import first

HOLD = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy" and not os.environ.get("SENT"):
            os.environ["SENT"] = "1"
            os.kill(os.getpid(), int(sys.argv.pop()))
sys.meta_path.insert(0, Slow())
runpy.run_module("mpipipe", run_name="__main__", alter_sys=True)
"""
"""The program, which gets the signal in its last argument when it begins to load numpy."""


def run(folder, *arguments):
    outcome = folder / "outcome"
    environment = {**os.environ, "MPIPIPE_OUTCOME": str(outcome), "OMPI_MCA_btl": "self"}
    done = subprocess.run(
        [sys.executable, "-c", HOLD, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    return done, outcome.read_text() if outcome.exists() else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_while_libraries_are_loaded_end_it_with_one_line(tmp_path, number):
    done, outcome = run(tmp_path, "train", "digits", "--out", "run", str(int(number)))
    assert (done.returncode, done.stderr) == (130, "mpipipe: interrupted before the ranks were ready\n")
    assert outcome == "ended 130\n"
    assert not (tmp_path / "run").exists()


def test_usr1_while_libraries_are_loaded_saves_and_stops(tmp_path):
    done, outcome = run(tmp_path, "train", "digits", "--out", "run", "--quiet", str(int(signal.SIGUSR1)))
    assert done.returncode == 0, done.stderr
    assert outcome.endswith("stopped interrupted\nended 0\n")
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000001.h5"]


@pytest.fixture
def kept():
    before = {number: signal.getsignal(number) for number in first.KEPT}
    first.keep_signals()
    yield first.came
    first.came.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_commands_without_ranks_end_at_int_and_term_as_usual(kept):
    os.kill(os.getpid(), signal.SIGUSR1)
    first.let_them_act()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert kept == [signal.SIGUSR1] * 2
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_came_before_ends_them_too(kept):
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        first.let_them_act()
