from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mpipipe.schedule import Kind, lower, wire

from .making import forward, nested, one_f_one_b, schedules, whole, written

TWINS = {
    Kind.SEND_ACT: (Kind.RECV_ACT, 1),
    Kind.SEND_GRAD: (Kind.RECV_GRAD, -1),
}


@given(schedules(stages=6), st.booleans(), st.booleans())
def test_every_send_has_one_receive_on_the_neighbour(schedule, targets, outputs):
    lowered = lower(schedule, targets, outputs)
    last = len(lowered.lanes) - 1
    sends, receives = Counter(), Counter()
    for stage, lane in enumerate(lowered.lanes):
        for action in lane:
            if action.kind in TWINS:
                kind, step = TWINS[action.kind]
                sends[kind, stage + step, action.micro] += 1
            elif action.kind == Kind.SEND_OUT:
                sends[Kind.RECV_OUT, "sink", action.micro] += 1
            elif action.kind.startswith("RECV"):
                receives[action.kind, stage, action.micro] += 1
    for action in lowered.source:
        if action.kind == Kind.SEND_DATA:
            sends[Kind.RECV_ACT, 0, action.micro] += 1
        elif action.kind == Kind.SEND_TARGET:
            sends[Kind.RECV_TARGET, last, action.micro] += 1
    for action in lowered.sink:
        receives[action.kind, "sink", action.micro] += 1
    assert sends == receives
    assert set(sends.values()) == {1}


@given(schedules(stages=6), st.booleans(), st.booleans())
def test_who_gets_what(schedule, targets, outputs):
    lowered = lower(schedule, targets, outputs)
    micros, last = schedule.micros, len(schedule.lanes) - 1
    for stage, lane in enumerate(lowered.lanes):
        count = Counter(action.kind for action in lane)
        trains = micros if schedule.name != "forward" else 0
        assert count == +Counter(
            {
                Kind.RECV_ACT: micros,
                Kind.F: micros,
                Kind.SEND_ACT: micros * (stage < last),
                Kind.RECV_TARGET: micros * (stage == last and targets),
                Kind.SEND_OUT: micros * (stage == last and outputs),
                Kind.RECV_GRAD: trains * (stage < last),
                Kind.I: trains,
                Kind.SEND_GRAD: trains * (stage > 0),
                Kind.W: trains,
            }
        )
    count = Counter(action.kind for action in lowered.source)
    assert count == +Counter({Kind.LOAD: micros, Kind.SEND_DATA: micros, Kind.SEND_TARGET: micros * targets})
    assert len(lowered.sink) == micros * outputs


@given(schedules())
def test_messages_stand_around_what_they_belong_to(schedule):
    for lane in lower(schedule, outputs=True).lanes:
        place = {(action.kind, action.micro): i for i, action in enumerate(lane)}
        for (kind, micro), i in place.items():
            if kind in (Kind.RECV_ACT, Kind.RECV_TARGET):
                assert i < place[Kind.F, micro]
            if kind == Kind.RECV_GRAD:
                assert place[Kind.F, micro] < i < place[Kind.I, micro]
            if kind in (Kind.SEND_ACT, Kind.SEND_OUT):
                assert i > place[Kind.F, micro]
            if kind == Kind.SEND_GRAD:
                assert place[Kind.I, micro] < i < place[Kind.W, micro]


def test_b_is_i_then_w():
    assert lower(written("F0 F1 B0 B1")).lanes == lower(written("F0 F1 I0 W0 I1 W1")).lanes


def test_the_lanes_of_a_short_pipeline():
    lowered = lower(one_f_one_b(2, 1, [1, 1]))
    first, second = (" ".join(map(str, lane)) for lane in lowered.lanes)
    assert first == "RECV_ACT0 F0 SEND_ACT0 RECV_GRAD0 I0 W0"
    assert second == "RECV_ACT0 RECV_TARGET0 F0 I0 SEND_GRAD0 W0"
    assert " ".join(map(str, lowered.source)) == "LOAD0 SEND_DATA0 SEND_TARGET0"
    assert lowered.sink == ()


def test_predicting():
    lowered = lower(forward(2, 2, [1, 1]), targets=False, outputs=True)
    first, second = (" ".join(map(str, lane)) for lane in lowered.lanes)
    assert first == "RECV_ACT0 F0 SEND_ACT0 RECV_ACT1 F1 SEND_ACT1"
    assert second == "RECV_ACT0 F0 SEND_OUT0 RECV_ACT1 F1 SEND_OUT1"
    assert " ".join(map(str, lowered.source)) == "LOAD0 SEND_DATA0 LOAD1 SEND_DATA1"
    assert " ".join(map(str, lowered.sink)) == "RECV_OUT0 RECV_OUT1"


def test_one_stage_is_first_and_last():
    (lane,) = lower(one_f_one_b(1, 1, [1])).lanes
    assert " ".join(map(str, lane)) == "RECV_ACT0 RECV_TARGET0 F0 I0 W0"


@given(st.integers(1, 6), st.integers(1, 9), st.lists(st.integers(1, 12), min_size=6, max_size=6))
def test_forwards_are_the_micro_batches_in_order(stages, micros, limits):
    schedule = forward(stages, micros, limits[:stages])
    assert schedule.name == "forward"
    assert str(schedule).splitlines() == [" ".join(f"F{micro}" for micro in range(micros))] * stages
    assert schedule.in_flight == tuple(min(micros, limit) for limit in limits[:stages])


def test_chunks_send_to_the_stages_next_to_them():
    lowered = lower(nested(2, 2, 1))
    first, second = (" ".join(map(str, lane)) for lane in lowered.lanes)
    assert first == (
        "RECV_ACT0 F0 SEND_ACT0 RECV_ACT0.1 F0.1 SEND_ACT0.1 RECV_GRAD0.1 I0.1 SEND_GRAD0.1 W0.1 RECV_GRAD0 I0 W0"
    )
    assert second == (
        "RECV_ACT0 F0 SEND_ACT0 RECV_ACT0.1 RECV_TARGET0.1 F0.1 I0.1 SEND_GRAD0.1 W0.1 RECV_GRAD0 I0 SEND_GRAD0 W0"
    )


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_every_send_of_a_chunk_meets_its_receive(lanes, chunks, micros):
    made = wire(whole(nested(lanes, chunks, micros)))
    nodes = [node for graph in made.whole.graphs for node in graph]
    for i, (node, other) in enumerate(zip(nodes, made.partner, strict=True)):
        if node.computes:
            assert other == -1
            continue
        assert made.partner[other] == i and nodes[other].action.micro == node.action.micro
        if node.action.kind in TWINS:
            kind, step = TWINS[node.action.kind]
            assert nodes[other].action.kind == kind and stage_of(made, other) == stage_of(made, i) + step


def stage_of(made, i):
    return made.groups[made.group[i]][1]
