"""Nine pretended hosts, unlike, one short of memory, on gigabit links: all get layers, and none more than it has room
for. (How fast that is: see runtime/test_replanning, in virtual time, and by_clock.sh.)"""

import csv
import json
import re
from statistics import median

import pytest

from .ranks import quick, run

pytestmark = pytest.mark.mpi

JOB = """
[model]
layers = [
    { kind = "linear", outputs = 1024 },
    { kind = "sleep", repeat = 12, forward_s = 0.0005, input_s = 0.0005, weight_s = 0.0005 },
    { kind = "sleep", repeat = 6, forward_s = 0.0008, input_s = 0.0009, weight_s = 0.0007 },
    { kind = "sleep", repeat = 12, forward_s = 0.0004, input_s = 0.0003, weight_s = 0.0003 },
    { kind = "linear", outputs = 10 },
]
[data]
path = "digits"
validation = 0
[train]
steps = 5
batch = 192
micro_batch = 8
"""
SPEEDS = (0.7, 1.0, 0.6, 0.3, 0.45, 0.9, 0.5, 0.35, 0.8)
SHORT, ROOM = 5, 3_000_000
"""The rank that is short of memory, and what it has."""
EQUAL = "plan.cuts=[4, 8, 12, 15, 18, 22, 26, 29]"


def write_files(folder):
    """The job and its hosts."""
    rows = [
        f'{{ name = "host{rank}", speed = {speed}, memory_bytes = {ROOM if rank == SHORT else 0} }}'
        for rank, speed in enumerate(SPEEDS)
    ]
    (folder / "job.toml").write_text(JOB)
    (folder / "hosts.toml").write_text(
        f"hosts = [{', '.join(rows)}]\nlink = {{ latency_s = 0.0002, bandwidth = 125e6 }}\n"
    )


@pytest.fixture
def files(tmp_path):
    write_files(tmp_path)
    return tmp_path


def trained(files, name, *settings, run=run):
    """What was said, the plan, and seconds of the usual step after the first."""
    sets = [word for one in (*settings, "run.replan=false") for word in ("--set", one)]
    hosts = str(files / "hosts.toml")
    ended = run(9, "train", str(files / "job.toml"), "--pretend", hosts, "--out", str(files / name), *sets)
    assert ended.status == 0, ended.err
    steps = [float(row["seconds"]) for row in csv.DictReader((files / name / "metrics.csv").open())]
    return ended.out, json.loads((files / name / "plan.json").read_text()), median(steps[1:])


def test_a_plan_for_unlike_hosts(files):
    said, plan, _ = trained(files, "planned", "train.steps=2", "plan.schedule=1f1b", run=quick)
    short = [stage for stage in plan["stages"] if stage["rank"] == SHORT]
    assert sum(stage["bytes"] for stage in short) <= ROOM
    assert len({stage["rank"] for stage in plan["stages"]}) == 9
    assert re.search(r"bound: no plan for these hosts takes less than", said)
