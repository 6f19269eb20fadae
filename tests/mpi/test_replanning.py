"""A rank that somebody else begins to use in mid-run: layers move away from it, and no bit changes."""

import json
import re

import pytest

from .ranks import newest, quick, same

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
SLOWER = "changes = [{ rank = 1, step = 20, speed = 0.2 }]"


def trained(tmp_path, name, hosts, *settings, text=JOB):
    """A run's folder and what it printed."""
    job, file = tmp_path / f"{name}-job.toml", tmp_path / f"{name}.toml"
    job.write_text(text)
    file.write_text(hosts)
    sets = [word for one in settings for word in ("--set", one)]
    ended = quick(3, "train", str(job), "--pretend", str(file), "--out", str(tmp_path / name), *sets)
    assert ended.status == 0, ended.err
    return tmp_path / name, ended.out + ended.err


def test_a_rank_slowed_to_a_fifth_of_its_speed_in_mid_run(tmp_path):
    """Layers leave it, with the bits of the undisturbed run. (When, and the gain: see runtime/test_replanning.)"""
    run_, said = trained(tmp_path, "slowed", HOSTS + SLOWER)
    calm, calm_said = trained(tmp_path, "calm", HOSTS, "run.replan=false", text=JOB.replace("0.00012", "1e-5"))
    assert re.search(r"step \d+: .*rank 1\) takes .* times as long", said), said
    moved = max(map(int, re.findall(r"step (\d+): moved \d+ layers? \(", said)))
    assert moved > 20
    assert "moved" not in calm_said
    assert same(newest(run_), newest(calm)) == ""
    until = {int(re.findall(r"\d+", path.stem)[-1]): path for path in run_.glob("plan-until-*.json")}
    before = until[min(step for step in until if step > 20)]  # a busy machine may have led to another one, too
    share = [layers_of(json.loads(path.read_text()), 1) for path in (before, run_ / "plan.json")]
    assert share[1] < share[0]


def layers_of(plan, rank):
    return sum(stage["last"] - stage["first"] for stage in plan["stages"] if stage["rank"] == rank)
