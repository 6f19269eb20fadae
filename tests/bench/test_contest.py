"""Contestants that behave and others that do not; and a small contest of mpipipe with itself."""

import os
import time
from importlib.util import find_spec

import pytest

from mpipipe.bench import contest
from mpipipe.bench.command import BenchRequest, _interrupted, status
from mpipipe.bench.command import contest as hold
from mpipipe.bench.contest import ContestError, Entry
from mpipipe.bench.contestants import find_mpirun
from mpipipe.bench.figures import Bench, Machine, sum_up
from mpipipe.bench.kit import step_flops
from mpipipe.bench.rounds import Contest, Failure

from .cases import TINY, Started, entry, honest, silent, timed

READY = """import sys; print('ready {"used": {"ranks": 1, "threads": 1}}', flush=True)\n"""


def test_turns_alternate_and_are_timed():
    with Contest("tiny", silent()) as field:
        for one in (honest(name="a"), honest(name="b"), honest(name="c", side="ceiling")):
            field.enter(one)
        contestants = field.running
        assert [(one.facts["cuts"], one.used.ranks, one.used.threads) for one in contestants] == [([], 1, 1)] * 3
        assert [(one.steps, one.losses) for one in contestants] == [(200, [1.0] * 3)] * 3  # each step takes it 0.01 s
        turns = []
        for one in contestants:
            go = one.go
            one.go = lambda steps, go=go, name=one.entry.name: turns.append((name, steps)) or go(steps)
        field.run_rounds(3, 5)
        assert turns == [(name, 200 if name == "c" else 5) for name in "abccbaabc"]
        assert [one.round_s for one in contestants] == [pytest.approx([0.01] * 3)] * 3
        assert not field.failures


@pytest.mark.parametrize("loss", [1.002, "nan"])
def test_other_losses_are_a_failure(loss):
    with Contest("tiny", silent()) as field:
        for one in (honest(name="a"), honest(0.9995, name="b"), honest(f"'{loss}'", name="c", side="torch")):
            field.enter(one)
        (failure,) = field.failures
        assert [one.entry.name for one in field.running] == ["a", "b"]
        assert (failure.name, failure.side) == ("c", "torch")
        assert f"computes something else: the loss of step 1 is {loss}, but 1 by 'a'" in failure.reason


FAILS = (
    READY
    + """
for line in sys.stdin:
    if line.split()[1] == "7":
        sys.exit("no memory")
    print(0.01, 1.0, flush=True)
"""
)


def test_the_others_go_on_where_one_fails():
    absent = Entry("absent", "torch", 1, ("/nowhere/python",))
    dies = entry(
        "import sys; sys.stderr.write('Traceback:\\nKeyError: 5\\n----\\n'); sys.exit(3)", name="dies", side="torch"
    )
    late = entry(FAILS, name="late")
    with Contest("tiny", silent()) as field:
        for one in (dies, honest(name="a"), absent, late, honest(name="b", side="torch")):
            field.enter(one)
        field.leave_out(honest(name="missing", side="torch"), "it is not installed")
        field.run_rounds(2, 7)
        reasons = {failure.name: failure.reason for failure in field.failures}
        assert [(one.entry.name, len(one.round_s)) for one in field.running] == [("a", 2), ("b", 2)]
    assert reasons.pop("absent").endswith("'/nowhere/python'")
    assert reasons == {
        "dies": "ended with status 3; KeyError: 5",
        "missing": "it is not installed",
        "late": "ended with status 1; no memory",
    }
    assert all("\n" not in failure.reason for failure in field.failures)
    result = sum_up(TINY, 1.0, 2, [], field.running, field.failures)
    assert [score.name for score in result.scores] == ["a", "b"] and result.failures == tuple(field.failures)


def test_only_failures_of_mpipipe_give_status_1():
    ours, theirs = (Failure("it", side, "ended") for side in ("mpipipe", "torch"))
    scores = [timed(honest(name="a"), 1.0)]
    assert status([sum_up(TINY, 1.0, 2, [], scores, [theirs])]) == 0
    assert status([sum_up(TINY, 1.0, 2, [], scores), sum_up(TINY, 1.0, 2, [], [], [theirs, ours])]) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no memory')", "contestant 'fake' ended with status 1; .*\n    no memory$"),
        ("print('hello', flush=True)", "contestant 'fake' said 'hello'; .* nothing"),
        ("print('ready {', flush=True)", "contestant 'fake' said 'ready {'"),
        ("print('ready {}', flush=True)", "contestant 'fake' said 'ready {}'"),
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


def test_an_interrupted_contest_ends_its_contestants(monkeypatch):
    monkeypatch.setattr(contest, "END_WAIT_S", 0.5)
    stubborn = "import os, signal\nsignal.signal(15, signal.SIG_IGN)\n"
    stubborn += """print('ready {"pid": %d, "used": {"ranks": 1, "threads": 1}}' % os.getpid(), flush=True)\n"""
    with pytest.raises(KeyboardInterrupt), Contest("tiny", silent()) as field:
        one = contest.Contestant(entry(stubborn + "while True: signal.pause()"))
        field.running.append(one)
        one.ready()
        raise KeyboardInterrupt
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            os.kill(one.facts["pid"], 0)
        except ProcessLookupError:
            return
    pytest.fail("it lives on")


def test_an_interrupt_says_what_is_kept():
    machine = Machine("Some CPU", 4, 2, "", "AVX2")
    assert _interrupted("lenet", Bench(machine, ()), "b.json") == "bench: interrupted while measuring lenet"
    one = Bench(machine, (sum_up(TINY, 1.0, 2, [], []),))
    said = "bench: interrupted while measuring lenet; tiny had been measured"
    assert _interrupted("lenet", one, None) == said
    assert _interrupted("lenet", one, "b.json") == f"{said} and is kept in b.json"


@pytest.mark.mpi
@pytest.mark.parametrize("with_torch", [False, True])
def test_a_small_contest(with_torch):
    if with_torch and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    request = BenchRequest(rounds=1, steps=2, quiet=True)
    result = hold(TINY, step_flops(TINY), 2, find_mpirun(), request, silent(), with_torch)
    assert not result.failures
    mine = [score for score in result.scores if score.side == "mpipipe"]
    assert [(score.stages, score.alike) for score in mine] == [(1, True), (2, True), (1, False)]
    assert mine[0].losses == mine[1].losses and len(mine[0].losses) == 3
    assert all(score.step_s > 0 and score.of_ceiling > 0 and len(score.round_s) == 1 for score in result.scores)
    assert len(result.scores) == (7 if with_torch else 4)
    assert bool(result.best_torch) == with_torch
    assert sorted(score.stages for score in result.scores if score.side == "torch") == ([1, 1, 2] if with_torch else [])
    assert len(result.cuts) == 1
    for score in result.scores:
        used = score.used
        assert (used.ranks, used.threads) == ((1, 2) if score.stages == 1 else (2, 1)), score.name
        assert used.products
    assert any("MPI" in name for name in mine[1].used.versions)
    assert all("torch" in score.used.versions for score in result.scores if score.side == "torch")
