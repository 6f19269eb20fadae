"""Times of a run over several ranks: they are told, on one clock, and can be looked at."""

import json
import math
from xml.etree import ElementTree

import pytest

from mpipipe.report.timeline import BEGAN, ENDED, KIND, KINDS, read_timeline
from mpipipe.schedule import Kind

from .ranks import alone, in_turn, settings

pytestmark = pytest.mark.mpi


SCHEDULED = ["1f1b", "zb-v", "interleaved"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By schedule: what was said, and the run's folder."""
    folder, options = tmp_path_factory.mktemp("timelines"), settings(train_epochs=0, train_steps=8, run_threads=1)
    lines = ([*options, "--set", f"plan.schedule={name}", "--out", str(folder / name)] for name in SCHEDULED)
    every = in_turn(3, *(["train", *line] for line in lines))
    assert len(every) == len(SCHEDULED) and every[-1].status == 0, every[-1].err
    return {name: (ended, folder / name) for name, ended in zip(SCHEDULED, every, strict=True)}


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_three_ranks_tell_when_everything_was_done(trained, tmp_path, schedule):
    ended, folder = trained[schedule]
    assert f"more: python -m mpipipe timeline {folder}\n" in ended.out

    timeline = read_timeline(folder / "timeline.npz")
    plan = timeline.plan
    assert plan.schedule == schedule and set(plan.lanes) == {0, 1, 2} and set(timeline.unsure_s) == {1, 2}
    assert all(0 < unsure_s < math.inf for unsure_s in timeline.unsure_s.values())
    for rows in timeline.steps.values():
        order_is_kept(timeline, rows)

    shown = alone("timeline", str(folder), "--trace", str(tmp_path / "t.json"))
    assert shown.status == 0 and not shown.err
    stages = [line.split()[:2] for line in shown.out.splitlines()[3:]]
    assert stages[: len(plan.stages)] == [[str(s), str(stage.rank)] for s, stage in enumerate(plan.stages)]
    assert "step: " in shown.out and "bubble: " in shown.out
    assert ElementTree.parse(folder / "timeline.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    perfetto_opens(json.loads((tmp_path / "t.json").read_text()))


def order_is_kept(timeline, rows):
    """Across ranks as far as their clocks are known: F of a stage begins after F of the one before has ended."""
    plan, tasks = timeline.plan, {}
    for rank, array in rows.items():
        for row in array[array[:, KIND] == KINDS.index(Kind.F)]:
            stage = plan.stages_of(rank)[int(row[2])]
            tasks[stage, int(row[1])] = row[BEGAN], row[ENDED]
    assert len(tasks) == len(plan.stages) * plan.micros
    for (stage, micro), (began, _) in tasks.items():
        if stage:
            ranks = plan.stages[stage].rank, plan.stages[stage - 1].rank
            unsure_s = sum(timeline.unsure_s.get(rank, 0.0) for rank in ranks)
            drift_s = 1e-3  # of clocks that were set side by side at the start
            assert began >= tasks[stage - 1, micro][1] - unsure_s - drift_s


def perfetto_opens(trace):
    """What the Trace Event Format wants of complete events and of names."""
    assert trace["traceEvents"]
    for event in trace["traceEvents"]:
        assert event["ph"] in ("M", "X") and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if event["ph"] == "X":
            assert event["ts"] >= 0 and event["dur"] >= 0 and event["name"]
        else:
            assert event["name"] in ("process_name", "thread_name") and event["args"]["name"]
