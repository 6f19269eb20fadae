"""Clocks compared by an order of rank 0, and what of a rank's seconds is its stages' own work."""

import numpy as np

from mpipipe.runtime.trace import KEPT_BYTES, MOST_CLOCKS, Listener
from mpipipe.schedule import Kind

from .cases import DEEP, make_case
from .harness import play, train
from .test_trace import patience


def test_clocks_are_compared_before_between_and_after_steps():
    """Ranks of one process have one clock; an idle rank and a checkpoint's order are in the way of nothing."""
    case = make_case(DEEP, (4,), cuts=(2, 4), order=(2, 0, 1), ranks=4)
    found = []

    def after(conductor, step):
        conductor.compare_clocks()
        found[:] = conductor.clocks

    play(case, train(case, 3, after=after))
    assert len(found) == 3 and [one.at_s for one in found] == sorted(one.at_s for one in found)
    for one in found:
        assert set(one.ahead) == {1, 2, 3}
        assert all(abs(ahead_s) <= unsure_s for ahead_s, unsure_s in one.ahead.values())


def test_however_many_comparisons_are_remembered_in_bounds():
    case, kept = make_case(DEEP, (4,), cuts=(3,)), []

    def ask(conductor):
        for _ in range(MOST_CLOCKS + 10):
            conductor.compare_clocks()
            kept.append(list(conductor.clocks))

    play(case, ask)
    assert max(map(len, kept)) == MOST_CLOCKS and all(each[0] == kept[0][0] for each in kept)
    assert all(each == sorted(each, key=lambda one: one.at_s) for each in kept)


class Wide:
    """A transport whose messages are there at once; each record has `rows`."""

    def __init__(self, rows):
        self.rows = rows

    def receive(self, array, peer, tag):
        if array.size == 1:
            array.fill(self.rows)
        return array

    def finished(self, requests):
        return list(range(len(requests)))

    def soon_s(self):
        return 1.0


def test_long_records_are_kept_within_bytes():
    """Of a program of 20,000 nodes, about four steps; the first ones besides."""
    listener = Listener(Wide(20_000), (0,))
    for step in range(640):
        listener.hear(step + 1, patience())
    size = 20_000 * 6 * 8
    assert KEPT_BYTES - size < len(listener.latest) * size <= KEPT_BYTES


def test_work_is_f_i_and_w_and_not_loading():
    case = make_case(DEEP, (4,), cuts=(3,))
    outcome = play(case, train(case, 2))
    for member in outcome.members.values():
        for program in member.programs.made.values():
            own = [action.kind in (Kind.F, Kind.I, Kind.W) for action in program.actions]
            assert (program.computes == np.array(own)).all()
    loads = [made.actions for made in outcome.members[0].programs.made.values()]
    assert all(any(action.kind == Kind.LOAD for action in actions) for actions in loads)
