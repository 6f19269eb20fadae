"""The bubbles of the papers, by simulation: p equal stages, m micro-batches, messages free.

Gradients here leave before W. The literature's B holds the gradient back until W is done; a stage without W, whose I is
longer, is the same.
"""

from dataclasses import replace
from itertools import product

import pytest
from pytest import approx

from mpipipe.schedule import (
    SCHEDULES,
    Action,
    Kind,
    check,
    peaks,
    round_robin,
    stage_peaks,
    straight,
    unit_pipeline,
    zigzag,
)

from .making import classic, timed

SIZES = [(p, m) for p, m in product((1, 2, 3, 4, 6, 9), (1, 2, 4, 9, 12, 36)) if m >= p]
TIMES = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (1.5, 2.5, 0.5), (2, 1, 0), (3, 2, 2)]


def bubble(schedule, each):
    chunks = max(map(len, schedule.placement))
    return timed(schedule, [each] * schedule.stages).end_s - schedule.micros * chunks * sum(each)


def zb_h1(p, m, limit):
    return SCHEDULES["zb-h1"].make(unit_pipeline(straight(p), m, [limit] * p))


@pytest.mark.parametrize(("p", "m"), SIZES)
@pytest.mark.parametrize("each", TIMES)
def test_zb_h1(p, m, each):
    """(p - 1)(F + I - W), where W is no longer than F and I."""
    schedule = zb_h1(p, m, p)
    check(schedule)
    assert bubble(schedule, each) == approx((p - 1) * (each[0] + each[1] - each[2]))
    assert stage_peaks(schedule.lanes, schedule.placement) == [(p, s + 1) for s in range(p)]


@pytest.mark.parametrize("each", [(1, 2, 3), (3, 0.5, 1), (1, 3, 2.5), (4, 1, 4)])
def test_zb_h1_with_a_w_that_is_longer_than_f_or_i(each):
    """The last rank begins (p - 1)F late and the first one ends (p - 1)I after it, whatever W fills."""
    f, i, w = each
    for p, m in SIZES:
        assert bubble(zb_h1(p, m, p), each) == approx((p - 1) * max(f, i, f + i - w))


@pytest.mark.parametrize(("p", "m"), [(p, m) for p, m in SIZES if m >= 2 * p - 1])
def test_twice_the_limit_is_zb_h2(p, m):
    """(p - 1)(F + I - 2W) and no less than (p - 1)F, after which the last rank begins."""
    schedule = zb_h1(p, m, 2 * p - 1)
    check(schedule)
    assert bubble(schedule, (1, 1, 1)) == approx(p - 1)
    assert bubble(schedule, (1, 2, 1)) == approx(p - 1)
    assert bubble(schedule, (1, 1, 0.5)) == approx(p - 1)
    assert [peaks(lane)[0] for lane in schedule.lanes] == [2 * p - 1] * p


def test_the_lanes_of_zb_h1():
    assert str(zb_h1(3, 4, 3)).splitlines() == [
        "F0 F1 F2 I0 W0 F3 I1 W1 I2 W2 I3 W3",
        "F0 F1 I0 F2 I1 W0 F3 I2 W1 I3 W2 W3",
        "F0 I0 F1 I1 F2 I2 W0 F3 I3 W1 W2 W3",
    ]


@pytest.mark.parametrize("v", [1, 2, 3, 5])
@pytest.mark.parametrize(("p", "groups"), list(product((1, 2, 3, 4, 9), (1, 2, 5))))
def test_interleaved(v, p, groups):
    """1F1B's bubble / v: F, I and W of a chunk are 1/v of a stage's."""
    schedule = SCHEDULES["interleaved"].make(unit_pipeline(round_robin(p, p * v), p * groups))
    check(schedule)
    one = SCHEDULES["1f1b"].make(unit_pipeline(straight(p), p * groups, classic(p)))
    for f, i, w in ((1, 1, 1), (1, 2, 1), (1, 2, 0), (2, 1, 0), (3, 2, 0.5)):
        assert bubble(schedule, (f / v, i / v, w / v)) == approx((p - 1) * (f + i) / v)
        assert bubble(schedule, (f / v, i / v, w / v)) == approx(bubble(one, (f, i, w)) / v)


def megatron(p, v, m, rank):
    """The order that the paper's code has, where m is a multiple of p: (chunk, micro-batch) of every step."""
    steps = range(m * v)
    forwards = [("F", k % (p * v) // p, k // (p * v) * p + k % p) for k in steps]
    backwards = [("B", v - 1 - chunk, micro) for _, chunk, micro in forwards]
    first = min(m * v, 2 * (p - 1 - rank) + (v - 1) * p)
    order = forwards[:first]
    for k in range(m * v - first):
        order += [forwards[first + k], backwards[k]]
    return order + backwards[m * v - first :]


@pytest.mark.parametrize(("p", "v", "groups"), list(product((2, 3, 4, 8), (2, 3, 4), (1, 2, 4))))
def test_where_m_is_a_multiple_of_p_time_and_memory_are_no_more_than_those_of_the_classic_order(p, v, groups):
    made = SCHEDULES["interleaved"].make(unit_pipeline(round_robin(p, p * v), p * groups))
    orders = [megatron(p, v, p * groups, rank) for rank in range(p)]
    lanes = tuple(tuple(Action(Kind(kind), micro, chunk) for kind, chunk, micro in order) for order in orders)
    limits = tuple(limit for limit, _ in stage_peaks(lanes, made.placement))
    assert all(ours <= theirs for theirs, ours in zip(limits, made.in_flight, strict=True))
    classic_ = replace(made, lanes=lanes, in_flight=limits)
    for each in ((1, 1, 1), (1, 2, 0), (2, 1, 1)):
        assert bubble(made, each) <= bubble(classic_, each) + 1e-9


@pytest.mark.parametrize("p", range(1, 10))
def test_zb_v(p):
    """6m + p - 1 units is the least that any schedule takes whose last rank begins after p - 1."""
    for m in (2 * p, 2 * p + 1, 3 * p, 4 * p, 4 * p + 3):
        schedule = SCHEDULES["zb-v"].make(unit_pipeline(zigzag(p, 2 * p), m))
        check(schedule)
        spare = timed(schedule, [(1, 1, 1)] * (2 * p)).end_s - (6 * m + p - 1)
        assert 0 <= spare <= (0 if p in (1, 2, 4) else 3)
        for lane in schedule.lanes:
            flying = most = 0
            for action in lane:
                flying += {"F": 1, "W": -1}.get(action.kind, 0)
                most = max(most, flying)
            assert most == 2 * p


def test_the_stages_of_a_v():
    assert zigzag(3, 6) == ((0, 5), (1, 4), (2, 3))
    assert zigzag(3, 5) == ((0,), (1, 4), (2, 3))
    assert zigzag(3, 2) == ((0,), (1,))
    assert round_robin(3, 7) == ((0, 3, 6), (1, 4), (2, 5))
