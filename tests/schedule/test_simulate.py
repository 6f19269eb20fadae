"""Times are compared with formulae; where the gradient leaves before W, the fill and drain of W cost nothing.

A stage's t is F + I + W, c the time of a message on a link. Formulae from the literature hold the gradient back until
W is done; a stage without W, whose I is longer, is the same.
"""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.schedule import Kind, Room, Transfer, WholeGraph, lower, simulate, stage_graph, straight, wire

from .making import (
    TRAINING,
    classic,
    forward,
    gpipe,
    nested,
    one_f_one_b,
    roomy,
    schedules,
    timed,
    whole,
    written,
)

seconds = st.floats(0, 8).map(lambda value: round(value, 3))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", TRAINING)
def test_the_bubble_of_equal_stages(name, strict):
    """(p - 1)(F + I + W) where gradients wait for W, and (p - 1)(F + I) where they do not."""
    for stages, micros in product((1, 2, 3, 5, 9), (1, 2, 4, 9, 20)):
        schedule = TRAINING[name](stages, micros, classic(stages))
        for f, i, w in ((1, 1, 1), (1, 2, 0), (3, 2, 1), (1, 1, 0.25)):
            bubble = timed(schedule, [(f, i, w)] * stages, strict=strict).end_s - micros * (f + i + w)
            assert bubble == approx((stages - 1) * (f + i))


def gpipe_seconds(each, links, micros):
    """All micro-batches go forward through a chain, then back; the last stage to end may be any."""
    stages = range(len(each))
    there = sum(f for f, _, _ in each) + sum(links) + (micros - 1) * max(f for f, _, _ in each)
    back = max(
        sum(each[r][1] for r in stages if r > s)
        + sum(links[s:])
        + (micros - 1) * max(i + w for _, i, w in each[s:])
        + each[s][1]
        + each[s][2]
        for s in stages
    )
    return there + back


@given(st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=6), st.integers(1, 8), st.data())
@settings(max_examples=120, deadline=None)
def test_gpipe_on_any_stages_and_links(each, micros, data):
    links = data.draw(st.lists(seconds, min_size=len(each) - 1, max_size=len(each) - 1))
    end_s = timed(gpipe(len(each), micros, []), each, links).end_s
    assert end_s == approx(gpipe_seconds(each, links, micros))


@given(st.lists(seconds, min_size=1, max_size=6), st.integers(1, 8), st.data())
@settings(max_examples=60, deadline=None)
def test_gpipe_takes_every_stage_and_link_once_and_the_slowest_stage_for_all_others(speeds, micros, data):
    """T = sum of t + 2 sum of c + (m - 1) max t, for stages that differ in speed only."""
    links = data.draw(st.lists(seconds, min_size=len(speeds) - 1, max_size=len(speeds) - 1))
    each = [(t / 3, 2 * t / 3, 0) for t in speeds]
    end_s = timed(gpipe(len(each), micros, []), each, links).end_s
    assert end_s == approx(sum(speeds) + 2 * sum(links) + (micros - 1) * max(speeds))


@given(st.lists(seconds, min_size=1, max_size=6), st.integers(1, 8), st.data())
@settings(max_examples=60, deadline=None)
def test_forwards_take_every_stage_and_link_once_and_the_slowest_stage_for_all_others(each, micros, data):
    stages = len(each)
    links = data.draw(st.lists(seconds, min_size=stages - 1, max_size=stages - 1))
    messages = {(Kind.SEND_ACT, stage): Transfer(link_s) for stage, link_s in enumerate(links)}
    made = wire(whole(forward(stages, micros)))
    end_s = simulate(made, [{Kind.F: f} for f in each], [1] * stages, messages).end_s
    assert end_s == approx(sum(each) + sum(links) + (micros - 1) * max(each))


def period(stages, link_s, slots=None, limits=classic):
    """Seconds of one more micro-batch on a long run of equal stages whose t is 1."""
    ends = [
        timed(
            one_f_one_b(stages, micros, limits(stages)),
            [(0.5, 0.5, 0)] * stages,
            [link_s] * (stages - 1),
            slots=slots,
        ).end_s
        for micros in (2 * stages * (stages - 1), 4 * stages * (stages - 1))
    ]
    return (ends[1] - ends[0]) / (2 * stages * (stages - 1))


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("link_s", [0, 0.1, 0.25, 1])
def test_the_period_of_plain_1f1b(stages, link_s):
    """t + 2c(p - 1)/p where a message may come before its slot is free; a little more where it must wait for it."""
    assert period(stages, link_s, slots=[1000] * stages) == approx(1 + 2 * link_s * (stages - 1) / stages)
    assert period(stages, link_s) == approx(1 + link_s * (2 * stages - 3) / (stages - 1))


@pytest.mark.parametrize("stages", [2, 3, 5, 9])
@pytest.mark.parametrize("link_s", [0, 0.1, 0.25, 0.5])
def test_limits_of_2k_minus_1_and_a_slot_to_receive_into_restore_the_time_of_gpipe(stages, link_s):
    """For c up to t/2. The slot is that of the micro-batch on its way in; without it every micro-batch waits for c."""
    each, links = [(0.5, 0.5, 0)] * stages, [link_s] * (stages - 1)
    best = timed(gpipe(stages, 36, []), each, links).end_s
    schedule = one_f_one_b(stages, 36, roomy(stages))
    assert timed(schedule, each, links, slots=[limit + 1 for limit in roomy(stages)]).end_s == approx(best)
    wider = one_f_one_b(stages, 36, [limit + 1 for limit in roomy(stages)])
    assert timed(wider, each, links, strict=False).end_s == approx(best)
    without = timed(schedule, each, links, strict=False).end_s
    assert without == approx(best) if not link_s else without > best + 20 * link_s


def test_the_efficiencies_that_planning_goes_by():
    """Nine stages, 36 micro-batches."""
    found = {}
    for c in (0, 0.1, 0.25, 0.5, 1):
        each, links = [(0.5, 0.5, 0)] * 9, [c] * 8
        found[c] = round(36 / timed(gpipe(9, 36, []), each, links).end_s, 3)
    assert found == {0: 0.818, 0.1: 0.789, 0.25: 0.750, 0.5: 0.692, 1: 0.600}


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("micros", [1, 2, 5, 12])
def test_threads_share_the_forwards_of_one_stage(threads, micros):
    schedule = forward(1, micros, [micros])
    result = simulate(wire(whole(schedule)), [{Kind.F: 2.0}], [threads])
    assert result.end_s == 2 * -(-micros // threads)
    assert result.busy_s[0] == 2 * micros


@given(
    schedules(("gpipe", "1f1b", "delayed"), stages=4, micros=6),
    st.tuples(seconds, seconds, seconds),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_what_every_simulation_keeps(schedule, each, threads, parts, strict):
    stages, (f, i, w) = len(schedule.lanes), each
    result = timed(schedule, [each] * stages, threads=threads, parts=parts, strict=strict)
    work = schedule.micros * (f + i + w)
    assert not result.stuck
    for lane in range(stages):
        assert result.busy_s[lane] == approx(work)
        spans = sorted(
            (span for span in result.spans if span.lane == lane and span.action.kind in (Kind.F, Kind.I, Kind.W)),
            key=lambda span: (span.start_s, span.end_s),
        )
        assert len(spans) == schedule.micros * (2 + parts)
        for moment in (span.start_s for span in spans):
            assert sum(span.start_s <= moment < span.end_s for span in spans) <= threads
    assert result.end_s == approx(max(span.end_s for span in result.spans))
    assert result.end_s >= work / threads - 1e-9
    assert result.end_s >= stages * (f + i) + w / parts - 1e-9


@given(schedules(("gpipe", "1f1b", "delayed"), stages=4, micros=6), st.integers(1, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_nothing_begins_before_its_needs_have_ended(schedule, threads, parts, strict):
    stages = len(schedule.lanes)
    made = whole(schedule, parts=parts, source=2)
    lane_times = [{Kind.F: 1.0, Kind.I: 1.5, Kind.W: 0.5}] * stages
    messages = {(kind, lane): Transfer(0.25) for kind in (Kind.SEND_ACT, Kind.SEND_GRAD) for lane in range(stages)}
    result = simulate(wire(made), lane_times, [threads] * stages, messages, strict)
    spans = {(span.lane, span.action, span.part): span for span in result.spans}
    for lane, graph in enumerate(made.graphs):
        for node in graph:
            start_s = spans[lane, node.action, node.part].start_s
            for need in node.needs:
                assert spans[lane, graph[need].action, graph[need].part].end_s <= start_s


@given(
    schedules(("gpipe", "1f1b", "delayed"), stages=4, micros=6),
    st.integers(1, 3),
    st.lists(st.tuples(seconds, seconds, seconds, seconds), min_size=4, max_size=4),
    st.lists(st.tuples(seconds, seconds, seconds, seconds), min_size=4, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_in_strict_order_what_costs_more_takes_longer(schedule, threads, costs, more):
    stages = len(schedule.lanes)

    def end_s(costs, threads, room=0):
        each, links = [cost[:3] for cost in costs[:stages]], [cost[3] for cost in costs[: stages - 1]]
        slots = [limit + room for limit in schedule.in_flight]
        return timed(schedule, each, links, threads, slots, parts=2).end_s

    costly = [tuple(a + b for a, b in zip(one, other, strict=True)) for one, other in zip(costs, more, strict=True)]
    plain = end_s(costs, threads)
    assert end_s(costly, threads) >= plain - 1e-9
    assert end_s(costs, threads + 1) <= plain + 1e-9
    assert end_s(costs, threads, room=1) <= plain + 1e-9


def test_priority_is_the_place_in_the_lane_and_only_strict_order_waits_for_it():
    """With the last F far away, W0 may run first where the order is only a preference."""
    schedule = written("F0 F1 B0 B1", "F0 F1 B0 B1")
    each = [(4, 1, 1), (1, 1, 1)]
    strict, free = (timed(schedule, each, strict=strict) for strict in (True, False))
    order = [
        [str(span.action) for span in sorted(result.spans, key=lambda span: span.start_s) if span.lane == 1]
        for result in (strict, free)
    ]
    assert [name for name in order[0] if name[0] in "FIW"] == ["F0", "F1", "I0", "W0", "I1", "W1"]
    assert [name for name in order[1] if name[0] in "FIW"] == ["F0", "I0", "W0", "F1", "I1", "W1"]
    assert free.end_s < strict.end_s


def test_a_message_waits_for_both_ends():
    """The receiver of a gradient slot that is taken holds up the sender, not the other way round."""
    schedule = one_f_one_b(2, 2, [2, 1])
    result = timed(schedule, [(1, 1, 5), (1, 1, 1)], [0.5], gradients=1)
    spans = {(span.lane, str(span.action)): span for span in result.spans}
    assert spans[0, "SEND_ACT0"].start_s == spans[1, "RECV_ACT0"].start_s == 1
    assert spans[0, "SEND_ACT0"].end_s == spans[1, "RECV_ACT0"].end_s == 1.5
    assert spans[0, "RECV_GRAD1"].start_s == spans[0, "W0"].end_s
    assert spans[1, "SEND_GRAD1"].start_s == spans[0, "W0"].end_s


def test_what_never_ends_is_named():
    lane = lower(one_f_one_b(2, 2, [1, 1])).lanes[1]
    graphs = (stage_graph(lane, (Room(1, 1),)), (), ())
    result = simulate(wire(WholeGraph(straight(1), graphs)), [{}], [1])
    assert result.spans == ()
    assert {graphs[0][i].action.kind for _, i in result.stuck} == {node.action.kind for node in graphs[0]}
    assert len(result.stuck) == len(graphs[0])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.tuples(seconds, seconds, seconds))
@settings(max_examples=60, deadline=None)
def test_what_is_nested_takes_as_long_as_all_of_it(lanes, chunks, micros, each):
    """Micro-batch by micro-batch, there and back: nothing overlaps but W, which the next one waits for."""
    f, i, w = each
    result = timed(nested(lanes, chunks, micros), [each] * (lanes * chunks))
    assert result.end_s >= lanes * chunks * (f + i) + w - 1e-9
    assert result.end_s <= micros * lanes * chunks * (f + i + w) + 1e-9
    assert all(busy == approx(micros * chunks * (f + i + w)) for busy in result.busy_s[:lanes])
