"""Contestants that behave and others that do not; and a small contest of mpipipe with itself."""

import os
import time
from importlib.util import find_spec

import pytest

from mpipipe.bench import contest
from mpipipe.bench.command import BenchRequest, field, machine_of
from mpipipe.bench.command import contest as hold
from mpipipe.bench.contest import ContestError, check_losses, run_rounds
from mpipipe.bench.contestants import find_mpirun
from mpipipe.bench.kit import step_flops

from .cases import TINY, Started, entry, honest

READY = "print('ready {}', flush=True)\n"


def test_turns_alternate_and_are_timed():
    with Started(honest(name="a"), honest(name="b"), honest(name="c", side="ceiling")) as contestants:
        assert [one.ready() for one in contestants] == [{"cuts": []}] * 3
        check_losses("tiny", contestants)
        assert [one.steps for one in contestants] == [200] * 3  # each step takes it 0.01 s
        turns, told = [], []
        for one in contestants:
            go = one.go
            one.go = lambda steps, go=go, name=one.entry.name: turns.append((name, steps)) or go(steps)
        run_rounds(contestants, 3, 5, told.append)
        assert turns == [(name, 200 if name == "c" else 5) for name in "abccbaabc"]
        assert [one.round_s for one in contestants] == [pytest.approx([0.01] * 3)] * 3
        assert told == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]


@pytest.mark.parametrize("loss", [1.002, "nan"])
def test_other_losses_are_refused(loss):
    with Started(honest(name="a"), honest(0.9995, name="b"), honest(f"'{loss}'", name="c")) as contestants:
        for one in contestants:
            one.ready()
        with pytest.raises(ContestError, match=f"tiny: .* the loss of step 1 is 1 by 'a', but {loss} by 'c'"):
            check_losses("tiny", contestants)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no memory')", "contestant 'fake' ended with status 1; .*\n    no memory$"),
        ("print('hello', flush=True)", "contestant 'fake' said 'hello'; .* nothing"),
        ("print('ready {', flush=True)", "contestant 'fake' said 'ready {'"),
        ("import time; time.sleep(60)", "contestant 'fake' said nothing for 0.5 s"),
    ],
)
def test_one_that_does_not_start(monkeypatch, code, said):
    monkeypatch.setattr(contest, "WAIT_S", 5 if "sleep" not in code else 0.5)
    monkeypatch.setattr(contest, "END_WAIT_S", 1)
    with Started(entry(code)) as (one,), pytest.raises(ContestError, match=said):
        one.ready()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("input(); print(1 / 0)", "ended with status 1; .*ZeroDivisionError"),
        ("input(); import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        ("input(); print('x y', flush=True)", "said 'x y'"),
        ("input(); print('1 2 3', flush=True)", "said '1 2 3'"),
        ("import sys, time; sys.stderr.write('stuck'); sys.stderr.flush(); time.sleep(60)", "said nothing.*\n.*stuck"),
    ],
)
def test_one_that_fails_at_work(monkeypatch, code, said):
    monkeypatch.setattr(contest, "STEP_WAIT_S", 0)
    monkeypatch.setattr(contest, "END_WAIT_S", 1)
    with Started(entry(READY + code)) as (one,):
        one.ready()
        monkeypatch.setattr(contest, "WAIT_S", 2)
        with pytest.raises(ContestError, match=f"(?s){said}"):
            one.go(1)


def test_a_contest_ends_its_contestants(monkeypatch):
    monkeypatch.setattr(contest, "END_WAIT_S", 0.5)
    stubborn = "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', os.getpid(), flush=True)\n"
    with pytest.raises(KeyboardInterrupt), field() as (start, _):
        number = start(entry(stubborn + "while True: signal.pause()"))
        raise KeyboardInterrupt
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
    pytest.fail("it lives on")


@pytest.mark.mpi
@pytest.mark.parametrize("with_torch", [False, True])
def test_a_small_contest(with_torch):
    if with_torch and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    request = BenchRequest(rounds=1, steps=2, quiet=True)
    facts, result = hold(TINY, step_flops(TINY), 2, find_mpirun(), request, with_torch)
    mine = [score for score in result.scores if score.side == "mpipipe"]
    assert [(score.stages, score.alike) for score in mine] == [(1, True), (2, True), (1, False)]
    assert mine[0].losses == mine[1].losses and len(mine[0].losses) == 3
    assert all(score.step_s > 0 and score.of_ceiling > 0 and len(score.round_s) == 1 for score in result.scores)
    assert len(result.scores) == (7 if with_torch else 4)
    assert bool(result.best_torch) == with_torch
    assert sorted(score.stages for score in result.scores if score.side == "torch") == ([1, 1, 2] if with_torch else [])
    assert (facts["ranks"], facts["threads"], len(facts["cuts"])) == (2, 1, 1)
    versions = machine_of(facts, 2).versions
    assert any("MPI" in name for name in versions) and bool(versions["torch"]) == with_torch
