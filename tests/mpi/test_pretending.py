"""Ranks that pretend to be other hosts: slower, but with the same bits; and refusals by name."""

import csv
import json

import pytest

from .ranks import alone, newest, quick, same

pytestmark = pytest.mark.mpi

JOB = """
[model]
layers = [
    { kind = "linear", outputs = 12 },
    { kind = "sleep", repeat = 4, forward_s = 0.0002, input_s = 0.0001, weight_s = 0.0002 },
    { kind = "sleep", forward_s = 0.0005, input_s = 0.0005, weight_s = 0.0005 },
    { kind = "tanh" },
    { kind = "linear", outputs = 10 },
]
[data]
path = "digits"
[train]
steps = 6
batch = 50
micro_batch = 8
clip_norm = 0.5
"""
HOSTS = """
hosts = [
    { name = "one" },
    { name = "two", speed = 0.5, memory_bytes = 50_000_000 },
    { name = "three", speed = 0.3, threads = 2 },
]
link = { latency_s = 0.0002, bandwidth = 125e6 }
changes = [{ rank = 1, step = 4, speed = 0.2 }]
"""


@pytest.fixture
def files(tmp_path):
    job, hosts = tmp_path / "job.toml", tmp_path / "hosts.toml"
    job.write_text(JOB)
    hosts.write_text(HOSTS)
    return job, hosts


def test_a_training_of_pretended_hosts_has_the_same_bits(files, tmp_path):
    job, hosts = map(str, files)
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    pretending = quick(3, "train", job, "--pretend", hosts, "--out", str(wide), "--set", "plan.cuts=[3,6]")
    assert pretending.status == 0, pretending.err
    assert "pretending to be 3 hosts by" in pretending.out
    assert "links 1000 Mbit/s and 0.2 ms; then 0.2 on rank 1 from step 4 on" in pretending.out
    plain = quick(1, "train", job, "--out", str(narrow))
    assert plain.status == 0, plain.err
    assert same(newest(narrow), newest(wide)) == ""
    assert losses(narrow) == losses(wide)
    cluster = json.loads((wide / "cluster.json").read_text())
    assert [host["name"] for host in cluster["hosts"]] == ["one", "two", "three"]
    assert cluster["hosts"][1]["available_bytes"] <= 50_000_000 and cluster["hosts"][2]["threads"] == 2
    seconds = [float(row["seconds"]) for row in rows(wide)]
    # Rank 1 sleeps for 2.5 ms a sample, 50 samples a step: 250 ms at half its speed, 625 ms at a fifth of it.
    # (A sleep that was too long is made up for by the next ones, so one step may take a little less.)
    assert sum(seconds[3:]) / 3 > 0.6 and min(seconds[:3]) > 0.2


def test_plan_and_probe_pretend_too(files):
    job, hosts = map(str, files)
    for command in (["plan", job], ["probe"]):
        ended = quick(3, *command, "--pretend", hosts)
        assert ended.status == 0, ended.err
        assert "three" in ended.out and "pretending to be 3 hosts" in ended.out


def test_one_host_for_each_rank(files):
    job, hosts = map(str, files)
    for ended in (quick(2, "train", job, "--pretend", hosts), alone("plan", job, "--pretend", hosts)):
        assert ended.status == 2
        assert "hosts.toml: hosts: 3 hosts; needed: " in ended.err
        assert "one for each rank that was started; start with mpirun -n 3" in ended.err


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").open()))


def losses(folder):
    return [row["loss"] for row in rows(folder)]
