"""Times of several clocks brought to one; a timeline's file, whole or damaged."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import UserError
from mpipipe.plan import Plan, StagePlan
from mpipipe.report.timeline import BEGAN, ENDED, Clocks, make_timeline, read_timeline, write_timeline

UNSURE_S = 1e-4
seconds = st.floats(-1e4, 1e4)


def plan(ranks):
    stages = tuple(StagePlan(rank, "host", rank, rank + 1, 1, 2, 1, 0.1, 0.1, 0.1, 1, 1) for rank in range(ranks))
    return Plan(tuple(map(str, range(ranks))), ranks, 4, 2, "1f1b", stages, (), 1.0, 0.1)


def rows(begins):
    """Actions of a tenth of a second each, in rank 0's time."""
    table = [(0, micro, 0, 0, begin, begin + 0.1) for micro, begin in enumerate(begins)]
    return np.array(table)


def by_clock(array, ahead_s, drift):
    """The same as a clock shows it that was `ahead_s` at rank 0's second 0, and gains `drift` seconds a second."""
    shown = array.copy()
    shown[:, BEGAN:] += ahead_s + drift * shown[:, BEGAN:]
    return shown


@given(seconds, st.floats(-1e-4, 1e-4), st.lists(st.floats(100, 900), min_size=1, max_size=4))
def test_a_clock_that_is_ahead_and_drifts_is_set_right(ahead_s, drift, begins):
    """By two comparisons, before and after: what is left is what it drifts within one step."""
    truth = rows(begins)
    clocks = [Clocks(at_s, {1: (ahead_s + drift * at_s, UNSURE_S)}) for at_s in (100.0, 900.0)]
    made = make_timeline(plan(2), clocks, {7: {0: truth, 1: by_clock(truth, ahead_s, drift)}})
    both = made.steps[7]
    slack_s = abs(drift) * (1 + max(begins) - min(begins)) + 1e-6
    assert np.abs(both[0][:, BEGAN:] - both[1][:, BEGAN:]).max() <= 2 * slack_s
    assert min(float(array[:, BEGAN].min()) for array in both.values()) == 0
    assert made.unsure_s == {1: UNSURE_S}


def test_of_several_comparisons_the_least_sure_counts():
    clocks = [Clocks(at_s, {1: (0.0, unsure_s)}) for at_s, unsure_s in ((0, 2e-4), (1, 5e-4), (2, 1e-4))]
    assert make_timeline(plan(2), clocks, {1: {0: rows([0]), 1: rows([0])}}).unsure_s == {1: 5e-4}


def test_records_are_left_as_they_were():
    truth = rows([5.0])
    make_timeline(plan(1), [], {1: {0: truth}})
    assert truth[0, BEGAN] == 5.0


def kept(folder, ranks=2):
    path = folder / "timeline.npz"
    records = {step: {rank: rows([rank, rank + 1.5]) for rank in range(ranks)} for step in (1, 2, 4)}
    made = make_timeline(plan(2), [Clocks(0.0, {1: (0.0, UNSURE_S)})], records)
    write_timeline(made, path)
    return made, path


def test_a_timeline_reads_back(tmp_path):
    made, path = kept(tmp_path)
    read = read_timeline(path)
    assert (read.plan, read.unsure_s, list(read.steps)) == (made.plan, made.unsure_s, [1, 2, 4])
    for step, by_rank in made.steps.items():
        for rank, array in by_rank.items():
            assert (read.steps[step][rank] == array).all() and (array[:, ENDED] > array[:, BEGAN]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.npz"]


def test_a_step_that_lacks_a_rank_is_damage(tmp_path):
    _, path = kept(tmp_path, ranks=1)
    with pytest.raises(UserError, match="a rank is missing"):
        read_timeline(path)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("whole"))[1].read_bytes()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_a_users_error_or_harmless(data, content, tmp_path_factory):
    """Bits flipped, or an end cut off: never a traceback, and never numbers that are not finite."""
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else None
    if damaged is None:
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        read = read_timeline(path)
    except UserError as error:
        assert error.where == str(path)
        return
    assert all(math.isfinite(array.sum()) for by_rank in read.steps.values() for array in by_rank.values())
