from hypothesis import given
from hypothesis import strategies as st

from mpipipe.schedule import Action, Kind, parse_lane, peaks

from .making import classic, gpipe, nested, one_f_one_b, roomy, schedules


@st.composite
def lanes(draw):
    """F, I and W of some micro-batches, each kind ascending, mixed in any way that keeps a micro-batch's own order."""
    micros, split = draw(st.integers(1, 8)), draw(st.booleans())
    done, lane = {Kind.F: 0, Kind.I: 0, Kind.W: 0}, []
    while done[Kind.W] < micros:
        open_ = [
            kind
            for kind, bound in ((Kind.F, micros), (Kind.I, done[Kind.F]), (Kind.W, done[Kind.I]))
            if done[kind] < bound
        ]
        kind = draw(st.sampled_from(open_))
        lane.append(Action(kind, done[kind]))
        done[kind] += 1
    if split:
        return tuple(lane)
    # An I with its W right behind it is a B.
    joined = []
    for action in lane:
        if action.kind == Kind.W and joined and joined[-1] == Action(Kind.I, action.micro):
            joined[-1] = Action(Kind.B, action.micro)
        else:
            joined.append(action)
    return tuple(joined)


def count(lane, begins):
    """The most micro-batches at one place between what begins them and their W, both ends counted."""
    spans = {}
    for i, action in enumerate(lane):
        if action.kind in begins:
            spans[action.micro] = [i, i]
    for i, action in enumerate(lane):
        if action.kind in (Kind.W, Kind.B):
            spans[action.micro][1] = i
    return max(sum(start <= i <= end for start, end in spans.values()) for i in range(len(lane)))


@given(lanes())
def test_peaks_are_what_counting_finds(lane):
    assert peaks(lane) == (count(lane, (Kind.F,)), count(lane, (Kind.I, Kind.B)))


@given(schedules(("gpipe", "1f1b", "delayed")))
def test_no_stage_exceeds_its_limit(schedule):
    for lane, limit in zip(schedule.lanes, schedule.in_flight, strict=True):
        assert peaks(lane)[0] <= limit


@given(st.integers(1, 9), st.integers(1, 12))
def test_the_peaks_of_known_schedules(stages, micros):
    assert [peaks(lane) for lane in gpipe(stages, micros, []).lanes] == [(micros, 1)] * stages
    for limits in (classic(stages), roomy(stages)):
        found = [peaks(lane) for lane in one_f_one_b(stages, micros, limits).lanes]
        assert found == [(min(micros, limit), 1) for limit in limits]


def test_forwards_are_never_done():
    assert peaks(parse_lane("F0 F1 F2")) == (3, 0)
    assert peaks(()) == (0, 0)


def test_chunks_are_counted_apart():
    lane = parse_lane("F0 F1 F0.1 F2 I0.1 W0.1 F1.1 I1.1 I0 W1.1 W0 I1 I2 W1 W2")
    assert [peaks(lane, chunk) for chunk in (0, 1, 2)] == [(3, 2), (1, 1), (0, 0)]
    assert [peaks(lane, chunk) for lane in nested(3, 2, 4).lanes for chunk in (0, 1)] == [(1, 1)] * 6
