import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.schedule import Kind, Schedule, Units, draw_svg, draw_text, straight

from .making import TRAINING, forward, gpipe, nested, schedules, timed

SVG = "{http://www.w3.org/2000/svg}"


@given(schedules())
@settings(max_examples=60, deadline=None)
def test_every_action_stands_in_the_grid_once(schedule):
    lines = draw_text(schedule).splitlines()
    head = re.fullmatch(
        rf"{schedule.name}: (\d+) stages?, (\d+) micro-batch(es)?; (\d+) units, "
        r"bubble ([\d.]+)% of the time, or ([\d.]+)% of the work; F = I = W = 1 unit, messages free",
        lines[0],
    )
    assert (int(head[1]), int(head[2])) == (len(schedule.lanes), schedule.micros)
    rows = [line for line in lines if line.startswith("rank ")]
    assert len({len(row.rpartition("|")[0]) for row in rows}) == 1
    kinds = (Kind.F,) if schedule.name == "forward" else (Kind.F, Kind.I, Kind.W)
    for stage, row in enumerate(rows):
        label, grid, foot = row.split("|")
        assert label.split() == ["rank", str(stage)]
        cells = [cell for cell in grid.split() if cell != "."]
        assert sorted(cells) == sorted(f"{kind}{micro}" for kind in kinds for micro in range(schedule.micros))
        assert foot == f" {schedule.in_flight[stage]} in flight"
    units, busy = int(head[4]), len(kinds) * schedule.micros
    assert float(head[5]) == pytest.approx(100 * (1 - busy / units), abs=0.06)
    assert float(head[6]) == pytest.approx(100 * (units / busy - 1), abs=0.06)


def test_a_forward_schedule():
    assert draw_text(forward(2, 3, [2, 2])).splitlines()[3:] == [
        "rank 0 | F0 F1 F2 .  | 2 in flight",
        "rank 1 | .  F0 F1 F2 | 2 in flight",
    ]


def test_chunks_and_unequal_times():
    drawn = draw_text(nested(2, 2, 1), Units(1, 1.5, 0.5, 0.5))
    assert drawn.splitlines()[0] == (
        "nested: 4 stages on 2 ranks, 1 micro-batch; 13.5 units, bubble 55.6% of the time, or 125.0% of the work; "
        "F 1, I 1.5, W 0.5 unit, messages 0.5"
    )
    assert drawn.splitlines()[-2].split("|")[1].split()[:9] == ["F0", "-", ".", ".", ".", ".", "F0.1", "-", "."]
    assert drawn.splitlines()[-2].endswith("| 1 + 1 in flight")
    assert "the rank's chunk" in drawn and "- going on" in drawn


def test_chunks_and_a_time_axis_in_the_svg():
    schedule = nested(2, 2, 1)
    root, titles, texts = shapes(draw_svg(schedule, timed(schedule, [(0.003, 0.001, 0.002)] * 4), "s"))
    assert "F0.1: 0.006 to 0.009, stage 2" in titles and "lighter: the rank's further chunks" in texts
    assert {box.get("fill-opacity") for box in root.iter(f"{SVG}rect")} == {None, "0.6"}
    assert "s" in texts and "0" in texts and "0.004" in texts and "0.018" in texts


@given(st.sampled_from([1e-6, 0.03, 1, 7, 300]), st.integers(1, 30))
def test_the_axis_has_five_to_eleven_ticks(unit, micros):
    root, _, _ = shapes(draw_svg(forward(1, micros), timed(gpipe(1, micros), [(unit, unit, unit)])))
    assert 5 <= len(list(root.iter(f"{SVG}line"))) - 1 <= 11


def shapes(svg):
    """Titles of all boxes, and all texts."""
    root = ElementTree.fromstring(svg)
    titles = [box.findtext(f"{SVG}title") for box in root.iter(f"{SVG}rect")]
    return root, [title for title in titles if title], [text.text for text in root.iter(f"{SVG}text")]


@given(schedules())
@settings(max_examples=60, deadline=None)
def test_the_svg_has_a_legend_and_a_cell_for_every_action(schedule):
    root, titles, texts = shapes(draw_svg(schedule))
    assert root.tag == f"{SVG}svg"
    legend = ["F, forward", "I, gradient of the input", "W, gradient of the weights"]
    assert [text for text in texts if text in legend] == legend
    assert [title for title in titles if title in legend] == legend
    assert titles.count("waiting") == len(schedule.lanes)
    cells = Counter(title.partition(":")[0] for title in titles if re.match(r"[FIW]\d", title))
    kinds = (Kind.F,) if schedule.name == "forward" else (Kind.F, Kind.I, Kind.W)
    wanted = {f"{kind}{micro}": len(schedule.lanes) for kind in kinds for micro in range(schedule.micros)}
    assert cells == wanted
    assert [text for text in texts if text.startswith("rank ")] == [f"rank {s}" for s in range(len(schedule.lanes))]


@given(schedules(("gpipe", "1f1b"), stages=3, micros=4), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_any_simulation_can_be_drawn_and_stays_in_the_picture(schedule, threads, parts):
    result = timed(schedule, [(0.003, 0.001, 0.002)] * len(schedule.lanes), threads=threads, parts=parts)
    root, titles, _ = shapes(draw_svg(schedule, result))
    cells = [title for title in titles if re.match(r"[FIW]\d", title)]
    assert len(cells) == len(schedule.lanes) * schedule.micros * (2 + parts)
    height = float(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        if box.findtext(f"{SVG}title"):
            assert float(box.get("x")) >= 0 and float(box.get("x")) + float(box.get("width")) <= 1000
            assert float(box.get("y")) >= 0 and float(box.get("y")) + float(box.get("height")) <= height


def test_a_name_is_text_not_markup():
    schedule = TRAINING["gpipe"](1, 1, [1])
    strange = Schedule("<b> & co", 1, (1,), schedule.lanes, straight(1))
    assert "<b> & co: 1 stage, 1 micro-batch" in shapes(draw_svg(strange))[2]
