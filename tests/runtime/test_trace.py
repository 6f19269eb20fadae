"""What runs tell of their times: in order, by one clock, and no more than is told."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.runtime.execute import Program
from mpipipe.runtime.messages import Patience
from mpipipe.runtime.serve import serve
from mpipipe.runtime.trace import (
    COLUMNS,
    KEPT,
    KINDS,
    LAST,
    STRETCH,
    Listener,
    answer_clock,
    ask_clocks,
    compute_seconds,
    is_told,
)
from mpipipe.schedule import Kind

from .cases import DEEP, make_case
from .harness import play, train, virtual_time

SPANS = {"1f1b": (0, 1, 2), "zb-v": (0, 1, 2, 2, 1, 0), "interleaved": (1, 0, 1, 0, 1, 0)}
SLACK_S = 5e-6
"""Two nodes of different ranks: clocks of one process differ by nothing, but each is read a moment late or early."""


def told(schedule, threads=2, steps=4):
    """A run, with what was told of its steps."""
    order = SPANS[schedule]
    cuts = (1, 2, 3, 4, 5)[: len(order) - 1]
    case = make_case(DEEP, (4,), cuts=cuts, order=order, schedule=schedule, threads=threads, in_flight=3, count=40)
    seen = {}

    def after(conductor, step):
        seen.update(conductor.listener.records())

    outcome = play(case, train(case, steps, after=after))
    return case, outcome, seen


@pytest.mark.parametrize("schedule", SPANS)
def test_every_node_begins_after_all_that_it_needs(schedule):
    _, outcome, _ = told(schedule)
    for program in (made for member in outcome.members.values() for made in member.programs.made.values()):
        began, ended = program.times
        assert (began <= ended).all() and (began > 0).all()
        for i, users in enumerate(program.users):
            assert all(ended[i] <= began[user] for user in users)


@pytest.mark.parametrize("schedule", SPANS)
def test_what_is_told_of_a_step(schedule):
    case, _, seen = told(schedule)
    assert seen
    for rows in seen.values():
        assert set(rows) == set(case.plan.lanes)
        for array in rows.values():
            assert array.shape[1] == COLUMNS and np.isfinite(array).all() and (array[:, 4] <= array[:, 5]).all()
        receives_end_after_sends_begin(case.plan, rows)


def receives_end_after_sends_begin(plan, rows):
    place = {stage: (rank, held.index(stage)) for rank, held in zip(plan.lanes, plan.placement, strict=True)
             for stage in held}  # fmt: skip
    for stage in range(len(plan.stages) - 1):
        for out, back, there, here in (
            (Kind.SEND_ACT, Kind.RECV_ACT, stage, stage + 1),
            (Kind.SEND_GRAD, Kind.RECV_GRAD, stage + 1, stage),
        ):
            sends, receives = (micros(rows, place[at], kind) for at, kind in ((there, out), (here, back)))
            assert set(sends) == set(receives) == set(range(plan.micros))
            assert all(receives[micro][1] >= sends[micro][0] - SLACK_S for micro in sends)


def micros(rows, place, kind):
    rank, chunk = place
    mine = rows[rank]
    chosen = (mine[:, 0] == KINDS.index(kind)) & (mine[:, 2] == chunk)
    return {int(row[1]): (row[4], row[5]) for row in mine[chosen]}


@given(st.integers(1, 10**9))
def test_which_steps_are_told_is_few_and_known_to_all(number):
    stretch = range(STRETCH * (number // STRETCH), STRETCH * (number // STRETCH + 1))
    steps = [one for one in stretch if one and is_told(one)]
    assert steps == [one for one in stretch if one and is_told(one)] and set(stretch[-LAST:]) <= set(steps)
    assert len(steps) <= LAST + (1 if number >= STRETCH else math.log2(STRETCH))


class Silent:
    """A transport whose messages are there at once, and say that a record has two rows."""

    def send(self, array, peer, tag):
        return array

    def receive(self, array, peer, tag):
        array.fill(2)
        return array

    def finished(self, requests):
        return list(range(len(requests)))

    def soon_s(self):
        return math.inf


def patience():
    return Patience(5, "a test")


def test_records_are_bounded_however_long_the_run():
    listener = Listener(Silent(), (0, 1))
    for step in range(5000):
        listener.hear(step + 1, patience())
    kept = listener.records()
    assert len(kept) <= KEPT + math.ceil(math.log2(5000)) + 1
    assert list(kept) == sorted(kept) and {1, 2, 4096} <= set(kept) and max(kept) > 4900
    assert all(rows.shape == (2, COLUMNS) for step in kept.values() for rows in step.values())


def test_a_small_batch_is_told_by_nobody():
    """The last batch of an epoch: other ranks and rank 0 count full ones only, so they keep step."""
    case = make_case(DEEP, (4,), cuts=(2, 4), count=17)
    seen = {}
    outcome = play(case, train(case, 8, after=lambda conductor, step: seen.update(conductor.listener.records())))
    counts = {member.teller.full_steps for member in outcome.members.values()}
    assert len(counts) == 1 and counts.pop() < 8
    full = {tuple(sorted(int(row[1]) for row in rows[0] if row[0] == KINDS.index(Kind.F))) for rows in seen.values()}
    assert full == {tuple(range(case.plan.micros))}


def test_compute_seconds_are_those_of_tasks_alone():
    times = np.array([[1.0, 2.0, 3.0], [1.5, 12.0, 3.25]])
    made = Program((), (), (), (), (), (), np.array([1.0, 0.0, 1.0]), times)
    assert compute_seconds(made) == pytest.approx(0.75)


@pytest.mark.parametrize("ahead_s", [0.0, 3.5, -120.0])
def test_a_clock_that_is_off_is_found(ahead_s):
    case, found = make_case(DEEP, (4,), cuts=(3,)), {}
    virtual = virtual_time(case)

    def ask(conductor):
        found.update(ask_clocks(conductor.transport, [1], conductor.member.patience("asking")))

    def answer(member):
        answer_clock(Ahead(member.transport, ahead_s), 0, member.patience("answering"))
        return serve(member)

    play(case, ask, parts={1: answer}, virtual=virtual)
    offset, unsure_s = found[1]
    assert abs(offset - ahead_s) <= unsure_s + 1e-9 and 0 < unsure_s < 1e-5


class Ahead:
    """A transport that adds to all it sends: to times, here."""

    def __init__(self, inner, ahead_s):
        self.inner, self.ahead_s = inner, ahead_s

    def send(self, array, peer, tag):
        array += self.ahead_s
        return self.inner.send(array, peer, tag)

    def __getattr__(self, name):
        return getattr(self.inner, name)
