import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.schedule import TraceSpan, simulated_spans, trace_json

from .making import nested, schedules, timed

seconds = st.floats(0, 1e4)
spans = st.builds(
    lambda start, length, *rest: TraceSpan(*rest, start, start + length),
    seconds,
    seconds,
    st.integers(0, 12),
    st.text(max_size=5),
    st.text(max_size=5),
    st.sampled_from(["worker", "in", "out", "disk"]),
)


def read(text):
    """Events by phase, after seeing that each has what the Trace Event Format requires of it."""
    document = json.loads(text)
    assert set(document) == {"traceEvents", "displayTimeUnit"} and document["displayTimeUnit"] in ("ms", "ns")
    found = {"X": [], "M": []}
    for event in document["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= set(event) and isinstance(event["name"], str)
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        found[event["ph"]].append(event)
    for event in found["X"]:
        assert set(event) == {"name", "cat", "ph", "pid", "tid", "ts", "dur"}
        assert event["ts"] >= 0 and event["dur"] >= 0
    for event in found["M"]:
        assert event["name"] in ("process_name", "thread_name") and set(event["args"]) == {"name"}
    return found


@given(st.lists(spans, max_size=30))
def test_every_span_is_an_event_of_a_named_row(given_):
    found = read(trace_json(given_))
    assert len(found["X"]) == len(given_)
    processes = {event["pid"] for event in found["M"] if event["name"] == "process_name"}
    threads = {(event["pid"], event["tid"]) for event in found["M"] if event["name"] == "thread_name"}
    assert processes == {span.rank for span in given_}
    assert threads == {(event["pid"], event["tid"]) for event in found["X"]}
    wanted = sorted((span.rank, span.name, span.category, span.start_s * 1e6) for span in given_)
    assert sorted((event["pid"], event["name"], event["cat"], event["ts"]) for event in found["X"]) == wanted


@given(st.lists(spans, max_size=30))
def test_no_two_spans_of_a_row_overlap(given_):
    rows = {}
    for event in read(trace_json(given_))["X"]:
        rows.setdefault((event["pid"], event["tid"]), []).append(event)
    for row in rows.values():
        row.sort(key=lambda event: (event["ts"], event["dur"]))
        for before, after in combinations(row, 2):
            assert after["ts"] >= (before["ts"] + before["dur"]) * (1 - 1e-9) - 1e-6


def test_any_tuples_will_do():
    measured = [(1, "F0", "F", "worker", 0.5, 1.0), (1, "RECV_ACT0", "RECV_ACT", "in", 0.25, 0.5)]
    measured.append((1, "W0", "W", "worker", 0.75, 1.25))
    found = read(trace_json(measured))
    names = {event["tid"]: event["args"]["name"] for event in found["M"] if event["name"] == "thread_name"}
    assert names == {0: "worker", 1: "worker 2", 2: "in"}
    assert [event["args"]["name"] for event in found["M"] if event["name"] == "process_name"] == ["rank 1"]
    assert [(event["name"], event["tid"], event["ts"], event["dur"]) for event in found["X"]] == [
        ("RECV_ACT0", 2, 250_000, 250_000),
        ("F0", 0, 500_000, 500_000),
        ("W0", 1, 750_000, 500_000),
    ]


@given(schedules(("gpipe", "1f1b", "delayed"), stages=4, micros=5), st.integers(1, 3))
def test_a_simulation_has_all_its_tasks_and_the_messages_that_take_time(schedule, threads):
    links = [0.5] * (schedule.stages - 1)
    result = timed(schedule, [(1, 1, 1)] * schedule.stages, links, threads)
    made = list(simulated_spans(result, len(schedule.lanes)))
    tracks = {span.track: sum(other.track == span.track for other in made) for span in made}
    moved = 2 * schedule.micros * (schedule.stages - 1)
    assert tracks == {"worker": 3 * schedule.micros * schedule.stages} | ({"in": moved, "out": moved} if moved else {})
    read(trace_json(made))


def test_chunks_are_named():
    result = timed(nested(2, 2, 1), [(1, 1, 1)] * 4)
    assert "F0.1" in [span.name for span in simulated_spans(result, 2)]
    assert max(span.end_s for span in simulated_spans(result, 2)) == pytest.approx(result.end_s)
