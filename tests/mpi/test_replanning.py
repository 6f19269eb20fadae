"""A rank that somebody else begins to use in mid-run: layers move away from it, and no bit changes."""

import csv
import json
import re
from statistics import median

import pytest

from .ranks import newest, run, same

pytestmark = pytest.mark.mpi

JOB = """
[model]
layers = [
    { kind = "linear", outputs = 12 },
    { kind = "sleep", repeat = 18, forward_s = 0.00012, input_s = 0.00012, weight_s = 0.00012 },
    { kind = "linear", outputs = 10 },
]
[data]
path = "digits"
validation = 0
[train]
steps = 66
batch = 80
micro_batch = 5
[plan]
schedule = "zb-h1"
"""
HOSTS = """
hosts = [{ name = "one" }, { name = "two" }, { name = "three" }]
link = { latency_s = 0.0002, bandwidth = 125e6 }
"""
SLOWER = "changes = [{ rank = 1, step = 20, speed = 0.5 }]"
FROM_THE_START = HOSTS.replace('{ name = "two" }', '{ name = "two", speed = 0.5 }')


def trained(tmp_path, name, hosts, *settings, text=JOB):
    """A run's folder and what it printed."""
    job, file = tmp_path / f"{name}-job.toml", tmp_path / f"{name}.toml"
    job.write_text(text)
    file.write_text(hosts)
    sets = [word for one in settings for word in ("--set", one)]
    ended = run(3, "train", str(job), "--pretend", str(file), "--out", str(tmp_path / name), *sets)
    assert ended.status == 0, ended.err
    return tmp_path / name, ended.out + ended.err


def seconds(folder):
    """Of the full steps, by their number."""
    full = 80
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    return {
        int(row["step"]): float(row["seconds"])
        for row in rows
        if round(float(row["samples_per_s"]) * float(row["seconds"])) == full
    }


def test_a_rank_slowed_to_half_its_speed_in_mid_run(tmp_path):
    """Within 50 steps the run is back at 0.9 of what a plan for the new speeds reaches; same bits as undisturbed."""
    run_, said = trained(tmp_path, "slowed", HOSTS + SLOWER)
    ideal, _ = trained(tmp_path, "ideal", FROM_THE_START, "train.steps=14")
    calm, calm_said = trained(tmp_path, "calm", HOSTS, "run.replan=false", text=JOB.replace("0.00012", "1e-5"))
    assert re.search(r"step \d+: ranks? .*1.* now: .*times as long a step as before", said), said
    moved = int(re.search(r"step (\d+): moved \d+ layers \(", said)[1])
    assert 20 < moved <= 45
    assert "moved" not in calm_said
    took, best = seconds(run_), median(list(seconds(ideal).values())[5:])
    assert median(one for step, one in took.items() if 20 <= step <= moved) > 1.5 * median(list(took.values())[5:18])
    assert best / median(one for step, one in took.items() if step > 56) > 0.9
    assert same(newest(run_), newest(calm)) == ""
    before, after = (json.loads(path.read_text()) for path in (*run_.glob("plan-until-*.json"), run_ / "plan.json"))
    share = [
        sum(stage["last"] - stage["first"] for stage in plan["stages"] if stage["rank"] == 1)
        for plan in (before, after)
    ]
    assert share[1] < share[0]
