"""A run next to its plan: a run as foretold has ratios of exactly 1, and what took longer shows where it was."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mpipipe.plan.simulated import simulate_plan
from mpipipe.report import RunFolder
from mpipipe.report.compared import Pair, compare_timeline, messages
from mpipipe.report.compared_table import bubble_lines, comparison_tables
from mpipipe.report.timeline import BEGAN, ENDED, KIND, KINDS, foretold, write_timeline
from mpipipe.schedule import Kind

from .times import ORDERS, as_foretold, plan_of, slowed

RECEIVES = [KINDS.index(kind) for kind in (Kind.RECV_ACT, Kind.RECV_GRAD)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("schedule", ORDERS)
def test_a_run_as_foretold_has_ratios_of_exactly_1(schedule, threads):
    plan = plan_of(schedule, threads)
    found, simulation = compare_timeline(as_foretold(plan)), simulate_plan(plan)
    stages = [pair for one in found.stages for pair in (one.forward, one.input, one.weight, one.busy)]
    links = [one.seconds for one in found.links]
    assert all(pair.ratio == 1 for pair in (*stages, *links, found.step))
    assert found.bubble.measured == found.bubble.predicted
    workers = threads * len(plan.lanes)
    assert found.bubble.predicted == pytest.approx(1 - sum(simulation.busy_s) / (workers * simulation.end_s))
    assert found.step.predicted == pytest.approx(simulation.end_s)
    assert len(found.stages) == len(plan.stages) and len(found.links) == 2 * (len(plan.stages) - 1)
    assert found.steps == 2


def test_what_is_foretold_of_a_stage_is_what_its_plan_says():
    """Seconds of one thread, but for a little that each task costs."""
    plan = plan_of("1f1b", 2)
    for one, stage in zip(compare_timeline(as_foretold(plan)).stages, plan.stages, strict=True):
        assert (one.rank, one.host) == (stage.rank, stage.host)
        assert one.forward.predicted == pytest.approx(stage.forward_s, abs=1e-4)
        assert one.input.predicted == pytest.approx(stage.input_s + stage.recompute * stage.forward_s, abs=1e-4)
        assert one.weight.predicted == pytest.approx(stage.weight_s, abs=1e-4)


@pytest.mark.parametrize("schedule", ORDERS)
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_slowed_stage_shows_its_ratio(schedule, factor):
    plan = plan_of(schedule)
    for slow in range(len(plan.stages)):
        for one in compare_timeline(slowed(as_foretold(plan), slow, factor)).stages:
            expected = factor if one.stage == slow else 1
            assert all(pair.ratio == pytest.approx(expected) for pair in (one.forward, one.input, one.weight))


def test_a_late_message_counts_from_when_both_ends_were_ready():
    plan = plan_of("1f1b")
    timeline = as_foretold(plan, (1,))
    rows = timeline.steps[1][plan.stages[1].rank]
    into = rows[:, KIND] == RECEIVES[0]
    rows[into, ENDED] += 0.01
    links = {(one.sender, one.receiver): one.seconds for one in compare_timeline(timeline).links}
    assert links[0, 1].measured == pytest.approx(links[0, 1].predicted + 0.01)
    assert links[1, 0].ratio == links[1, 2].ratio == 1
    rows[into, BEGAN] += 0.004  # it was wanted later: so much less was the message's fault
    later = {(one.sender, one.receiver): one.seconds for one in compare_timeline(timeline).links}
    assert later[0, 1].measured < links[0, 1].measured


def test_the_first_step_is_left_out_and_the_median_is_taken():
    plan = plan_of("1f1b")
    timeline = as_foretold(plan, (1, 2, 3, 4))
    odd = slowed(timeline, 0, 9.0)
    mixed = replace(timeline, steps={**timeline.steps, 1: odd.steps[1], 3: odd.steps[3]})
    assert compare_timeline(mixed).stages[0].forward.ratio == 1
    assert compare_timeline(mixed, 3).stages[0].forward.ratio == pytest.approx(9)
    only = replace(timeline, steps={1: odd.steps[1]})
    assert compare_timeline(only).stages[0].forward.ratio == pytest.approx(9)


def test_every_message_of_a_step_is_found():
    for schedule, order in ORDERS.items():
        plan = plan_of(schedule)
        found = list(messages(plan, foretold(plan)))
        assert len(found) == 2 * plan.micros * (len(order) - 1)
        assert all(one.ready_s <= one.received_s and abs(one.sender - one.receiver) == 1 for one in found)


def test_a_ratio_to_nothing_is_infinite():
    assert Pair(0.0, 1.0).ratio == float("inf") and Pair(2.0, 1.0).ratio == 0.5


# ---- tables -----------------------------------------------------------------------------------------------------


def printed(found, width):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(comparison_tables(found, width))
    text = stream.getvalue()
    assert text.isascii() and all(len(line) <= width for line in text.splitlines())
    return text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("schedule", ORDERS)
def test_tables_have_a_line_for_each_stage_and_each_two_neighbours(schedule, width):
    plan = plan_of(schedule)
    text = printed(compare_timeline(slowed(as_foretold(plan), 0, 1.5)), width)
    lines = [line.split() for line in text.splitlines()]
    stages = lines[3 : 3 + len(plan.stages)]
    assert [line[:2] for line in stages] == [[str(s), str(one.rank)] for s, one in enumerate(plan.stages)]
    assert [line[4] for line in stages] == ["1.50", *["1.00"] * (len(plan.stages) - 1)]
    assert all((f"host{one.rank}" in line) == (width > 100) for one, line in zip(plan.stages, stages, strict=True))
    pairs = [line for line in lines if line and line[0].rstrip(",").isdigit() and line[0].endswith(",")]
    assert [line[:2] for line in pairs] == [[f"{s},", str(s + 1)] for s in range(len(plan.stages) - 1)]
    assert all(line[4] == line[6] == "1.00" for line in pairs)


def test_the_step_and_the_bubble_stand_below():
    text = printed(compare_timeline(as_foretold(plan_of("zb-v"))), 80)
    assert "ratio 1.00 (update not counted)" in text and "bubble: " in text
    assert "the median of 2 steps" in text and "comparable to 30.0 us at the worst" in text
    assert "run: as measured, in one step" in printed(compare_timeline(as_foretold(plan_of("zb-v")), 2), 120)


def test_a_run_ends_with_one_line_or_none(tmp_path):
    folder = RunFolder(tmp_path)
    assert bubble_lines(folder) == []
    plan = plan_of("1f1b")
    write_timeline(as_foretold(plan), folder.timeline)
    bubble = compare_timeline(as_foretold(plan)).bubble.predicted
    (line,) = bubble_lines(folder)
    assert line == (
        f"bubble: {bubble:.1%} measured, {bubble:.1%} predicted; more: python -m mpipipe timeline {tmp_path}"
    )
    folder.timeline.write_bytes(b"PK")
    assert bubble_lines(folder) == []
