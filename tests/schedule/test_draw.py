import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.schedule import Kind, Schedule, draw_svg, draw_text, straight

from .making import TRAINING, classic, forward, schedules, timed

SVG = "{http://www.w3.org/2000/svg}"
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", TRAINING)
def test_the_grid_of_4_stages_and_8_micro_batches(name):
    drawn = draw_text(TRAINING[name](4, 8, classic(4)))
    assert drawn + "\n" == (HERE / f"{name}_4x8.txt").read_text()
    assert drawn.isascii()


@given(schedules())
@settings(max_examples=60, deadline=None)
def test_every_action_stands_in_the_grid_once(schedule):
    lines = draw_text(schedule).splitlines()
    sizes = re.fullmatch(rf"{schedule.name}: (\d+) stages?, (\d+) micro-batch(es)?; .*", lines[0])
    assert (int(sizes[1]), int(sizes[2])) == (len(schedule.lanes), schedule.micros)
    rows = [line for line in lines if line.startswith("stage ")]
    assert len({len(row.rpartition("|")[0]) for row in rows}) == 1
    kinds = (Kind.F,) if schedule.name == "forward" else (Kind.F, Kind.I, Kind.W)
    for stage, row in enumerate(rows):
        label, grid, foot = row.split("|")
        assert label.split() == ["stage", str(stage)]
        cells = [cell for cell in grid.split() if cell != "."]
        assert sorted(cells) == sorted(f"{kind}{micro}" for kind in kinds for micro in range(schedule.micros))
        assert foot == f" {schedule.in_flight[stage]} in flight"
    units, share = re.fullmatch(r"(\d+) units, bubble ([\d.]+)% of the whole", lines[-1]).groups()
    busy = len(kinds) * schedule.micros
    assert float(share) == pytest.approx(100 * (1 - busy / int(units)), abs=0.06)


def test_a_forward_schedule():
    assert draw_text(forward(2, 3, [2, 2])).splitlines()[3:] == [
        "stage 0 | F0 F1 F2 .  | 2 in flight",
        "stage 1 | .  F0 F1 F2 | 2 in flight",
        "",
        "4 units, bubble 25.0% of the whole",
    ]


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
    assert [text for text in texts if text.startswith("stage ")] == [f"stage {s}" for s in range(len(schedule.lanes))]


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
