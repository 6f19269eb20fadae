import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import ScheduleError
from mpipipe.schedule import check, rooms_of

from .making import classic, delayed, forward, gpipe, nested, one_f_one_b, roomy, schedules, timed, written


def fault(schedule, **options):
    """The first line of what is said of a schedule, after seeing that the schedule stands below it."""
    with pytest.raises(ScheduleError) as caught:
        check(schedule, **options)
    first, _, rest = str(caught.value).partition("\n")
    assert rest.replace(">>", "").replace("<<", "") == str(schedule)
    assert first.startswith("schedule mine")
    return first


@pytest.mark.parametrize("stages", range(1, 10))
def test_schedules_pass(stages):
    for micros in range(1, 13):
        check(gpipe(stages, micros, classic(stages)))
        check(one_f_one_b(stages, micros, classic(stages)))
        check(one_f_one_b(stages, micros, roomy(stages)))


@given(st.integers(1, 9), st.integers(1, 12), st.data())
@settings(max_examples=80, deadline=None)
def test_1f1b_passes_whatever_the_limits(stages, micros, data):
    """Limits come from each host's threads, so a later stage may be given more than an earlier one."""
    limits = data.draw(st.lists(st.integers(1, 15), min_size=stages, max_size=stages))
    check(one_f_one_b(stages, micros, limits))


@given(st.integers(1, 9), st.integers(1, 12), st.booleans(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_forwards_pass(stages, micros, targets, limit):
    check(forward(stages, micros, [limit] * stages), targets=targets, outputs=not targets)


@given(schedules(("delayed",), stages=6), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_late_weights_pass(schedule, targets, outputs):
    check(schedule, targets, outputs)


def test_a_schedule_that_a_person_wrote():
    check(written("F0 F1 B0 F2 I1 I2 W1 W2", "F0 I0 W0 F1 B1 F2 B2"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("F0 F2 B0 B1 B2", "F1 is missing; needed: F of micro-batches 0 to 2"),
        ("F0 F1 F2 B0 B1 W2", "I2 is missing; needed: I of micro-batches 0 to 2"),
        ("F0 F1 F2 B0 I1 B2", "W1 is missing; needed: W of micro-batches 0 to 2"),
        ("F0 F1 F2 B0 F1 B1 B2", "F1 stands twice; needed: every action once"),
        ("F0 F1 F2 B0 B1 B1 B2", "I1 stands twice"),
        ("F0 F1 F2 B0 W0 B1 B2", "W0 stands twice"),
        ("F0 F1 F2 I0 I1 I2 W0 W2 W1", "W actions stand as [0, 2, 1]; needed: ascending, so that sums are too"),
        ("F0 F1 F2 I1 I0 I2 W0 W1 W2", "I actions stand as [1, 0, 2]; needed: ascending"),
        ("F1 F0 F2 B0 B1 B2", "F actions stand as [1, 0, 2]; needed: ascending"),
        ("F0 B0 B1 F1 F2 B2", "micro-batch 1 is out of order; needed: F, then I, then W"),
        ("F0 F1 F2 W0 I0 B1 B2", "micro-batch 0 is out of order; needed: F, then I, then W"),
        ("F0 F1 F2 F3 B0 B1 B2", "F3 is of no micro-batch; needed: numbers below 3"),
        ("F0 F1 F2 B0 B1 B2 B7", "I7 is of no micro-batch; needed: numbers below 3"),
        ("F0 SEND_ACT0 F1 F2 B0 B1 B2", "SEND_ACT0 is not for a schedule to say; needed: F, I, W and B only"),
        ("F0 F1 F2 B0 B1 B2 LOAD9", "LOAD9 is not for a schedule to say"),
    ],
)
def test_a_lane_with_a_fault(line, words):
    good = "F0 F1 F2 B0 B1 B2"
    for stage in range(3):
        lines = [line if s == stage else good for s in range(3)]
        found = fault(written(*lines, limits=[3] * 3, micros=3))
        assert found.startswith(f"schedule mine, stage {stage}: ")
        assert words in found


def test_too_many_in_flight():
    lines = ["F0 F1 F2 B0 B1 B2", "F0 F1 B0 F2 B1 B2"]
    check(written(*lines, limits=[3, 2]))
    found = fault(written(*lines, limits=[3, 1]))
    assert found == "schedule mine, stage 1: 2 micro-batches are in flight; needed: at most 1"
    assert "stage 0: 3 micro-batches are in flight; needed: at most 2" in fault(written(*lines, limits=[2, 2]))


def test_a_micro_batch_is_in_flight_until_its_weights_are_done():
    line = "F0 I0 F1 W0 I1 W1"
    check(written(line, limits=[2]))
    assert "2 micro-batches are in flight; needed: at most 1" in fault(written(line, limits=[1]))


DEADLOCKS = {
    "the first wants a gradient before it gives the micro-batch that the last wants": (
        "F0 B0 F1 B1",
        "F0 F1 B0 B1",
    ),
    "one micro-batch too few in flight on the first of two": (
        "F0 F1 B0 F2 B1 B2",
        "F0 F1 F2 B0 B1 B2",
    ),
    "the fault lies in the middle": (
        "F0 F1 F2 B0 F3 B1 B2 B3",
        "F0 B0 F1 B1 F2 B2 F3 B3",
        "F0 F1 B0 F2 B1 F3 B2 B3",
    ),
    "a gradient that never comes": (
        "F0 F1 B0 B1",
        "F0 F1",
    ),
    "limits that grow along the pipeline": (
        "F0 F1 F2 B0 F3 B1 F4 B2 F5 B3 B4 B5",
        "F0 F1 F2 F3 F4 B0 F5 B1 B2 B3 B4 B5",
    ),
}


@pytest.mark.parametrize("lines", DEADLOCKS.values(), ids=DEADLOCKS)
def test_stages_that_wait_for_each_other(lines):
    found = fault(written(*lines))
    assert "never ends" in found


def test_a_deadlock_names_where_each_stage_stands():
    found = fault(written("F0 B0 F1 B1", "F0 F1 B0 B1"))
    assert re.search(r"rank 0 \D*GRAD0", found)
    assert re.search(r"rank 1 \D*ACT1", found)
    assert len(found) < 200


def test_a_stage_that_never_sends_holds_up_all_after_it():
    assert "rank 2" in fault(written("F0 F1 B0 B1", "F0 B0 F1 B1", "F0 F1 B0 B1"))


def test_delays_of_any_length():
    for delay in range(5):
        check(delayed(4, 6, classic(4), delay))


@pytest.mark.parametrize(("lanes", "chunks", "micros"), [(1, 2, 1), (1, 3, 4), (2, 2, 3), (3, 2, 2), (4, 3, 5)])
def test_chunks_pass(lanes, chunks, micros):
    check(nested(lanes, chunks, micros))


@pytest.mark.parametrize("name", ["F", "I", "W"])
def test_a_gap_in_one_chunk_is_found(name):
    """The other chunk of the same lane has what this one lacks."""
    whole, holed = "F0 F0.1 I0.1 W0.1 I0 W0 F1 F1.1 I1.1 W1.1 I1 W1", "F0 F0.1 I0.1 W0.1 I0 W0 F1 F1.1 I1.1 W1.1 I1 W1"
    placement = ((0, 2), (1, 3))
    check(written(whole, whole, placement=placement))
    for word, stage in ((f"{name}1", 1), (f"{name}1.1", 3)):
        gap = " ".join(other for other in holed.split() if other != word)
        found = fault(written(whole, gap, placement=placement))
        assert found == f"schedule mine, stage {stage}: {name}1 is missing; needed: {name} of micro-batches 0 to 1"


def test_an_action_of_no_chunk():
    found = fault(written("F0 F0.2 B0", "F0 B0"))
    assert found == "schedule mine: F0.2 is of no chunk; needed: numbers below 1"


def test_chunks_that_wait_for_each_other():
    """Chunk 1 comes first, which needs what chunk 0 of the same rank has yet to make."""
    found = fault(written("F0.1 F0 B0 B0.1", placement=((0, 1),)))
    assert "never ends" in found and "rank 0" in found


@given(schedules(stages=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_live_at_no_cost_is_live_at_any(schedule, parts):
    """The check simulates with no time at all, as what waits for what does not depend on it."""
    if schedule.name == "forward":
        check(schedule, targets=False, outputs=True)
        return
    check(schedule)
    each = [(stage % 3 + 0.25, 2 - stage % 2, 0.5) for stage in range(schedule.stages)]
    assert not timed(schedule, each, gradients=rooms_of(schedule)[0].gradients, parts=1 + parts).stuck


@pytest.mark.parametrize(
    ("lines", "marked"),
    [
        (("F0 F1 B0 B1", "F0 F1 B0 F1 B1"), ["F0 F1 B0 B1", "F0 F1 B0 >>F1<< B1"]),
        (("F0 F1 B0 B1 B1", "F0 F1 B0 B1"), ["F0 F1 B0 B1 >>B1<<", "F0 F1 B0 B1"]),
        (("F0 F1 I0 I1 W1 W0", "F0 F1 B0 B1"), ["F0 F1 I0 I1 W1 >>W0<<", "F0 F1 B0 B1"]),
        (("F0 B0 F1 B1", "F0 F1 B0 B1"), ["F0 >>B0<< F1 B1", "F0 >>F1<< B0 B1"]),
        (("F0 F1 B0 B1", "F0 B1 B0 F1"), ["F0 F1 B0 B1", "F0 B1 >>B0<< F1"]),
    ],
)
def test_the_fault_is_marked_in_the_grid(lines, marked):
    with pytest.raises(ScheduleError) as caught:
        check(written(*lines))
    assert str(caught.value).splitlines()[1:] == marked


def test_the_first_forward_too_many_is_marked():
    with pytest.raises(ScheduleError) as caught:
        check(written("F0 F1 B0 F2 F3 B1 B2 B3", limits=[2]))
    assert str(caught.value).splitlines()[1:] == ["F0 F1 B0 F2 >>F3<< B1 B2 B3"]
