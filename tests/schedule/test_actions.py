import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.errors import ScheduleError
from mpipipe.schedule import SCHEDULES, Action, Kind, Schedule, lane_of, parse_lane, straight, unit_pipeline

from .making import gpipe, one_f_one_b, schedules

lanes = st.lists(st.builds(Action, st.sampled_from(Kind), st.integers(0, 10**6), st.integers(0, 99))).map(tuple)


@given(lanes)
def test_a_lane_reads_back_as_it_was_printed(lane):
    assert parse_lane(" ".join(map(str, lane))) == lane


@given(schedules())
def test_a_schedule_has_a_line_for_each_stage(schedule):
    lines = str(schedule).splitlines()
    assert tuple(map(parse_lane, lines)) == schedule.lanes


def test_the_line_of_a_stage():
    lane = (Action(Kind.F, 0), Action(Kind.F, 1), Action(Kind.B, 0), Action(Kind.SEND_ACT, 12))
    assert str(Schedule("mine", 2, (2,), (lane,), straight(1))) == "F0 F1 B0 SEND_ACT12"
    assert parse_lane("  F0\tF1\nB0  SEND_ACT12 ") == lane
    assert parse_lane("") == ()


@pytest.mark.parametrize("word", ["F", "0", "f0", "F-1", "F0.", "0F", "X3", "F0F1", "SENDACT1", "_1"])
def test_what_is_no_action(word):
    with pytest.raises(ScheduleError, match="is no action; needed: one such as F0, I3, W3, B3") as caught:
        parse_lane(f"F0 {word} B0")
    assert f"'{word}'" in str(caught.value)


def test_training_schedules_by_name():
    assert list(SCHEDULES) == ["gpipe", "1f1b", "zb-h1", "interleaved", "zb-v", "list"]
    for name, recipe in SCHEDULES.items():
        assert recipe.make(unit_pipeline(recipe.place(3, 3 * recipe.chunks), 5)).name == name


def test_gpipe_has_everything_in_flight():
    schedule = gpipe(2, 3, [1, 1])
    assert str(schedule) == "F0 F1 F2 B0 B1 B2\nF0 F1 F2 B0 B1 B2"
    assert schedule.in_flight == (3, 3)


def test_1f1b_alternates_once_its_limit_is_in_flight():
    schedule = one_f_one_b(3, 4, [3, 2, 1])
    assert str(schedule).splitlines() == [
        "F0 F1 F2 B0 F3 B1 B2 B3",
        "F0 F1 B0 F2 B1 F3 B2 B3",
        "F0 B0 F1 B1 F2 B2 F3 B3",
    ]


def test_limits_are_cut_to_what_there_is():
    assert one_f_one_b(2, 2, [7, 0]).in_flight == (2, 1)


def test_no_stage_may_begin_more_than_the_one_before_it():
    """A stage of many threads behind one of few is told not to wait for what cannot come."""
    assert one_f_one_b(3, 12, [3, 8, 5]).in_flight == (3, 3, 3)
    assert one_f_one_b(3, 12, [5, 2, 4]).in_flight == (5, 2, 2)


def test_the_line_of_a_rank_with_chunks():
    lane = (Action(Kind.F, 0), Action(Kind.F, 0, 1), Action(Kind.B, 0, 1), Action(Kind.RECV_GRAD, 3, 12))
    assert parse_lane("F0 F0.1 B0.1 RECV_GRAD3.12") == lane
    assert " ".join(map(str, lane)) == "F0 F0.1 B0.1 RECV_GRAD3.12"


@given(st.permutations(range(6)), st.integers(1, 6))
def test_every_stage_is_found_on_its_lane(stages, lanes):
    placement = tuple(tuple(stages[lane::lanes]) for lane in range(lanes))
    places = lane_of(placement)
    assert [placement[lane][chunk] for lane, chunk in places] == list(range(6))
