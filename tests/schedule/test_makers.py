"""What holds of every schedule that a pipeline can be given, whatever its limits, costs and sizes."""

from dataclasses import replace
from itertools import accumulate, product

import pytest
from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.schedule import (
    SCHEDULES,
    Kind,
    Pipeline,
    StageCost,
    check,
    simulate,
    simulate_units,
    stage_peaks,
    straight,
    unit_pipeline,
    wire,
)

from .making import timed, whole

units = st.sampled_from([0.0, 0.5, 1.0, 1.3, 2.0])


@st.composite
def pipelines(draw, name, lanes=9, micros=20):
    """Any limits, unlike costs, links and threads; as many stages as there may be, or a few less."""
    recipe = SCHEDULES[name]
    p, m = draw(st.integers(1, lanes)), draw(st.integers(1, micros))
    chunks = draw(st.integers(1, min(3, recipe.most_chunks)))
    fewer = draw(st.integers(0, p - 1)) if chunks > 1 else 0
    placement = recipe.place(p, p * chunks - fewer)
    n = p * chunks - fewer
    limits = draw(st.one_of(st.lists(st.integers(1, 2 * p + 3), min_size=n, max_size=n), st.just([m] * n)))
    costs = tuple(draw(st.builds(StageCost, units, units, units)) for _ in range(n))
    message_s = tuple(draw(st.lists(units, min_size=n - 1, max_size=n - 1)))
    threads = tuple(draw(st.lists(st.integers(1, 3), min_size=p, max_size=p)))
    return Pipeline(m, placement, tuple(limits), costs, message_s, threads)


def settled(made, pipeline):
    """The pipeline as a plan has it: with the limits that the schedule reached."""
    gradients = tuple(held for _, held in stage_peaks(made.lanes, made.placement))
    return replace(pipeline, limits=made.in_flight, gradients=gradients)


@pytest.mark.parametrize("name", SCHEDULES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_checked_keeps_its_limits_and_is_made_again_from_what_it_reached(name, data):
    pipeline = data.draw(pipelines(name))
    made = SCHEDULES[name].make(pipeline)
    check(made)
    assert (made.name, made.micros, made.placement) == (name, pipeline.micros, pipeline.placement)
    if name != "gpipe":
        assert all(a <= max(1, b) for a, b in zip(made.in_flight, pipeline.limits, strict=True))
    again = settled(made, pipeline)
    assert SCHEDULES[name].make(again) == made
    fewer = data.draw(st.integers(1, pipeline.micros))
    short = SCHEDULES[name].make(replace(again, micros=fewer))
    check(short)
    full = stage_peaks(made.lanes, made.placement)
    for (limit, held), stage in zip(stage_peaks(short.lanes, short.placement), range(made.stages), strict=True):
        assert limit <= short.in_flight[stage] <= made.in_flight[stage] and held <= full[stage][1]


@pytest.mark.parametrize(("name", "p"), list(product(SCHEDULES, range(1, 10))))
def test_all_sizes(name, p):
    """Any number of micro-batches (with --exhaustive every one), no multiple of anything, with the limits that the
    schedule is known for."""
    recipe = SCHEDULES[name]
    for m in usual((1, 2, 3, 4, 5, 7, 8, 11, 17, 20), range(1, 21)):
        placement = recipe.place(p, p * recipe.chunks)
        check(recipe.make(unit_pipeline(placement, m, recipe.limits(p * recipe.chunks, m, 0))))
        check(recipe.make(unit_pipeline(placement, m, [1] * (p * recipe.chunks))))


@given(pipelines("list", lanes=1, micros=12))
@settings(max_examples=30, deadline=None)
def test_a_list_on_one_rank_never_has_a_forward_before_an_i_that_could_be(pipeline):
    (lane,) = SCHEDULES["list"].make(replace(pipeline, threads=(1,))).lanes
    assert [action.kind for action in lane if action.kind != Kind.W] == [Kind.F, Kind.I] * pipeline.micros


def free_end_s(pipeline, made):
    costs = [{Kind.F: c.forward_s, Kind.I: c.input_s, Kind.W: c.weight_s} for c in pipeline.costs]
    return simulate(wire(whole(made)), costs, pipeline.threads).end_s


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=9), st.integers(1, 4), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_on_unlike_stages_a_list_is_as_fast_as_1f1b_up_to_a_little(speeds, batches, room):
    p = len(speeds)
    costs = tuple(StageCost(speed, 1.2 * speed, 0.8 * speed) for speed in speeds)
    limits = tuple(accumulate((p - s + room for s in range(p)), min))
    pipeline = Pipeline(batches * p, straight(p), limits, costs, (0.0,) * (p - 1), (1,) * p)
    ends = {name: free_end_s(pipeline, SCHEDULES[name].make(pipeline)) for name in ("list", "1f1b")}
    assert ends["list"] <= 1.1 * ends["1f1b"]


def test_room_for_gradients_bounds_how_late_w_is():
    pipeline = unit_pipeline(straight(3), 12, [9] * 3)
    for bound in (1, 2, 4):
        made = SCHEDULES["list"].make(replace(pipeline, gradients=(bound,) * 3))
        assert max(held for _, held in stage_peaks(made.lanes, made.placement)) == bound


def test_slow_links_and_threads_get_more_forwards_at_the_start_of_zb_h1():
    plain = unit_pipeline(straight(4), 24, [24] * 4)

    def first(pipeline):
        made = SCHEDULES["zb-h1"].make(pipeline)
        return [next(i for i, action in enumerate(lane) if action.kind != Kind.F) for lane in made.lanes]

    assert first(plain) == [7, 5, 3, 1]
    assert first(replace(plain, message_s=(3.0,) * 3)) == [19, 13, 7, 1]
    assert first(replace(plain, threads=(2,) * 4)) == [15, 11, 7, 3]


def test_a_simulation_in_units_is_the_plain_one():
    made = SCHEDULES["1f1b"].make(unit_pipeline(straight(3), 5, [3, 2, 1]))
    assert simulate_units(made).end_s == timed(made, [(1, 1, 1)] * 3).end_s == 19
