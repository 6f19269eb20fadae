"""The picture of a run: XML with a row for each worker, in which everything says what it is."""

import json
from collections import Counter
from xml.etree import ElementTree

import pytest

from mpipipe.report.timeline import foretold
from mpipipe.report.timeline_picture import AHEAD, BACK, FAINT, NARROWEST, ROW, WIDEST, draw_timeline, trace_spans
from mpipipe.schedule import trace_json
from mpipipe.schedule.draw import COLOURS, LEFT

from .times import ORDERS, as_foretold, plan_of, slowed

SVG = "{http://www.w3.org/2000/svg}"


def drawn(timeline, step=2):
    root = ElementTree.fromstring(draw_timeline(timeline, step))
    boxes = [box for box in root.iter(f"{SVG}rect") if box.find(f"{SVG}title") is not None]
    return root, [(box, box.find(f"{SVG}title").text) for box in boxes]


def of_colour(boxes, *colours):
    """Those of the legend stand at its height."""
    return [(box, title) for box, title in boxes if box.get("fill") in colours and float(box.get("y")) > 45]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("schedule", ORDERS)
def test_one_row_a_worker_and_everything_in_it_twice(schedule, threads):
    """Once as foretold, once as measured."""
    plan = plan_of(schedule, threads)
    root, boxes = drawn(as_foretold(plan))
    rows = [(box, title) for box, title in boxes if box.get("fill") == "#eeeeee"]
    assert len(rows) == 2 * threads * len(plan.lanes)
    assert Counter(title for _, title in rows) == {
        f"rank {rank}, host{rank}: waiting": 2 * threads for rank in plan.lanes
    }
    tasks = of_colour(boxes, *COLOURS.values())
    each = Counter(title.split(":")[0] for _, title in tasks)
    stages = range(len(plan.stages))
    assert {f"{kind}{micro} of stage {s}" for kind in "FIW" for micro in range(plan.micros) for s in stages} == set(
        each
    )
    assert all(count == (2 * threads if name.startswith("W") else 2) for name, count in each.items())
    messages = of_colour(boxes, AHEAD, BACK)
    assert len(messages) == 2 * 2 * plan.micros * (len(plan.stages) - 1)
    text = "".join(root.itertext())
    assert "predicted: " in text and "measured, step 2: " in text and schedule in text
    for rank in plan.lanes:
        held = plan.stages_of(rank)
        assert f"rank {rank}" in text and f"stage{'s' * (len(held) > 1)} {', '.join(map(str, held))}" in text


@pytest.mark.parametrize("schedule", ORDERS)
def test_nothing_lies_outside_the_page_or_over_another_task(schedule):
    plan = plan_of(schedule)
    root, boxes = drawn(slowed(as_foretold(plan), 0, 0.7))
    width, height = float(root.get("width")), float(root.get("height"))
    for box, _ in boxes:
        x, y, wide, high = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= LEFT and x + wide <= width and y >= 0 and y + high <= height
    by_row = {}
    for box, _ in of_colour(boxes, *COLOURS.values()):
        by_row.setdefault(box.get("y"), []).append((float(box.get("x")), float(box.get("width"))))
    for spans in by_row.values():
        spans.sort()
        assert all(a + wide <= b + 0.02 for (a, wide), (b, _) in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize("schedule", ORDERS)
def test_further_chunks_are_lighter_and_the_legend_says_so(schedule):
    plan = plan_of(schedule)
    root, boxes = drawn(as_foretold(plan))
    for box, title in of_colour(boxes, *COLOURS.values()):
        stage = int(title.split("stage ")[1].split(":")[0])
        first = plan.stages_of(plan.stages[stage].rank)[0] == stage
        assert box.get("fill-opacity") == (None if first else str(FAINT))
    assert ("lighter" in "".join(root.itertext())) == (len(plan.stages) > len(plan.lanes))


def test_more_workers_make_it_higher_and_more_tasks_wider():
    small, _ = drawn(as_foretold(plan_of("1f1b", 1, 4)))
    high, _ = drawn(as_foretold(plan_of("1f1b", 3, 4)))
    wide, _ = drawn(as_foretold(plan_of("1f1b", 1, 40)))
    widest, _ = drawn(as_foretold(plan_of("gpipe", 1, 400)))
    assert float(high.get("height")) - float(small.get("height")) == 2 * 3 * 2 * ROW
    widths = [float(root.get("width")) for root in (small, wide, widest)]
    assert widths == sorted(widths) and widths[0] >= NARROWEST and widths[2] <= WIDEST + LEFT + 100


@pytest.mark.parametrize("schedule", ORDERS)
def test_a_trace_has_every_task_and_message(schedule):
    plan = plan_of(schedule)
    spans = list(trace_spans(plan, foretold(plan), "predicted", 3))
    tracks = Counter(span.track for span in spans)
    assert tracks["worker"] == len(plan.stages) * plan.micros * 4 and {span.rank for span in spans} == {
        rank + 3 for rank in plan.lanes
    }
    assert tracks["in"] == 2 * plan.micros * (len(plan.stages) - 1)
    events = json.loads(trace_json(spans))["traceEvents"]
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in events if event["ph"] == "X")
