import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.schedule import Kind, Room, lower, peaks, stage_graph

from .making import classic, forward, gpipe, nested, one_f_one_b, schedules, whole
from .replay import Replay, ascending


@st.composite
def graphs(draw, **options):
    """A schedule's graphs with the slots they were made for: as few as the schedule needs, or more."""
    schedule = draw(schedules(**options))
    stages = len(schedule.lanes)
    trains = schedule.name != "forward"
    targets = draw(st.booleans()) or trains
    slots = [limit + draw(st.integers(0, 2)) for limit in schedule.in_flight]
    gradients = [max(1, peaks(lane)[1]) + draw(st.integers(0, 2)) for lane in schedule.lanes]
    parts = [draw(st.integers(0, 3)) for _ in range(stages)]
    source = draw(st.integers(1, 3))
    return whole(schedule, slots, gradients, parts, source, targets, not targets), slots, gradients, source


@given(graphs(), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_in_any_order_everything_ends_and_no_micro_batch_meets_another_in_an_array(made, seed):
    made, slots, gradients, source = made
    Replay(made, slots, gradients, source, random.Random(seed)).run()


@given(schedules(), st.data(), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_with_less_room_than_the_lane_asks_for_actions_wait_and_still_end(schedule, data, seed):
    """A micro-batch waits only for those before it, so one slot is enough wherever order is but a preference."""
    stages = len(schedule.lanes)
    slots, gradients, parts = (
        data.draw(st.lists(st.integers(least, 4), min_size=stages, max_size=stages)) for least in (1, 1, 0)
    )
    targets = schedule.name != "forward"
    made = whole(schedule, slots, gradients, parts, 1, targets, not targets)
    Replay(made, slots, gradients, 1, random.Random(seed)).run()


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_outputs_of_training_are_not_overwritten_on_their_way(stages, micros, seed):
    schedule = one_f_one_b(stages, micros, classic(stages))
    made = whole(schedule, gradients=1, source=1, outputs=True)
    Replay(made, list(schedule.in_flight), [1] * stages, 1, random.Random(seed)).run()


def test_the_replay_sees_a_slot_too_few():
    """What watches must be able to fail: graphs made for more slots than there are."""
    schedule = gpipe(2, 6, [])
    made = whole(schedule, gradients=2, source=3)
    for slots, gradients, source in (([5, 6], [2, 2], 3), ([6, 6], [1, 2], 3), ([6, 6], [2, 2], 2)):
        with pytest.raises(AssertionError, match=r"finds|writes"):
            for seed in range(30):
                Replay(made, slots, gradients, source, random.Random(seed)).run()


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_needs_point_back(made):
    for graph in made[0].graphs:
        for i, node in enumerate(graph):
            assert all(0 <= need < i for need in node.needs)


@given(graphs(names=("gpipe", "1f1b", "delayed")))
@settings(max_examples=60, deadline=None)
def test_every_part_of_w_follows_the_same_part_of_the_micro_batch_before(made):
    for graph in made[0].graphs[:-2]:
        place = {(node.action.micro, node.part): i for i, node in enumerate(graph) if node.action.kind == Kind.W}
        for micro, part in place:
            needs = graph[place[micro, part]].needs
            others = [(m, k) for (m, k), i in place.items() if i in needs]
            assert others == ([(micro - 1, part)] if micro else [])


def test_the_graph_of_a_middle_stage():
    lane = lower(one_f_one_b(3, 2, [3, 1, 1])).lanes[1]
    graph = stage_graph(lane, (Room(1, 1, 2),))
    names = [f"{node.action}.{node.part}" if node.action.kind == Kind.W else str(node.action) for node in graph]
    needs = {name: {names[need] for need in node.needs} for name, node in zip(names, graph, strict=True)}
    assert needs == {
        "RECV_ACT0": set(),
        "F0": {"RECV_ACT0"},
        "SEND_ACT0": {"F0"},
        "RECV_GRAD0": set(),
        "I0": {"F0", "RECV_GRAD0"},
        "SEND_GRAD0": {"I0"},
        "W0.0": {"I0"},
        "W0.1": {"I0"},
        "RECV_ACT1": {"W0.0", "W0.1"},
        "F1": needs["F1"],
        "SEND_ACT1": {"F1"},
        "RECV_GRAD1": needs["RECV_GRAD1"],
        "I1": {"F1", "RECV_GRAD1", "W0.0", "W0.1", "SEND_GRAD0"},
        "SEND_GRAD1": {"I1"},
        "W1.0": {"I1", "W0.0"},
        "W1.1": {"I1", "W0.1"},
    }
    assert needs["F1"] >= {"RECV_ACT1", "SEND_ACT0"}
    assert needs["RECV_GRAD1"] >= {"W0.0", "W0.1"}


def test_a_stage_without_weights_frees_its_slots_after_i():
    lane = lower(one_f_one_b(2, 2, [1, 1])).lanes[1]
    graph = stage_graph(lane, (Room(1, 1, 0),))
    names = [str(node.action) for node in graph]
    assert not [name for name in names if name.startswith("W")]
    assert [names[need] for need in graph[names.index("RECV_ACT1")].needs] == ["I0"]


def test_what_computes_and_what_is_a_message():
    made = whole(one_f_one_b(2, 2, [2, 1]), gradients=1, source=1)
    kinds = {node.action.kind: node.computes for graph in made.graphs for node in graph}
    assert {kind for kind, computes in kinds.items() if computes} == {Kind.F, Kind.I, Kind.W, Kind.LOAD}


@given(st.integers(1, 8), st.integers(1, 4))
def test_the_source_has_no_more_samples_on_their_way_than_slots(micros, slots):
    source = whole(forward(1, micros, [1]), source=slots).graphs[-2]
    loads = {node.action.micro: node for node in source if node.action.kind == Kind.LOAD}
    for micro, node in loads.items():
        waits = [(source[need].action.kind, source[need].action.micro) for need in node.needs]
        assert waits == ([(Kind.SEND_DATA, micro - slots)] if micro >= slots else [])
    assert ascending(loads)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.data(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_chunks_never_meet_in_an_array(lanes, chunks, micros, data, seed):
    schedule = nested(lanes, chunks, micros)
    numbers = st.lists(st.integers(1, 3), min_size=schedule.stages, max_size=schedule.stages)
    slots, gradients, parts = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    Replay(whole(schedule, slots, gradients, parts, 1), slots, gradients, 1, random.Random(seed)).run()


def test_chunks_have_rooms_of_their_own():
    """W1 of chunk 1 waits for W0 of the same chunk; the other chunk's slots are not its own."""
    lane = lower(nested(1, 2, 2)).lanes[0]
    graph = stage_graph(lane, (Room(2, 2), Room(1, 1)))
    names = [str(node.action) for node in graph]
    needs = {name: {names[need] for need in node.needs} for name, node in zip(names, graph, strict=True)}
    assert needs["RECV_ACT1"] == set() and needs["RECV_ACT1.1"] == {"W0.1"}
    assert needs["W1"] == {"I1", "W0"} and needs["W1.1"] == {"I1.1", "W0.1"}
