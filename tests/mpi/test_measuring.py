"""Links and layers measured by real ranks, and what is kept of them."""

import json

import pytest

from mpipipe.resources import load_cluster, times_of

from .ranks import run, settings

pytestmark = pytest.mark.mpi


def test_what_probe_measures(tmp_path):
    path = tmp_path / "cluster.json"
    ended = run(3, "probe", "digits", "--save", str(path), "--threads", "2")
    assert ended.status == 0, ended.err
    cluster = load_cluster(path)
    (link,) = cluster.links
    assert link.first == link.second == cluster.hosts[0].name
    assert link.latency_s > 0 and link.bandwidth > 0 and link.both_bandwidth > 0
    assert cluster.link(link.first, link.first) == link
    assert len(cluster.hosts[0].layers) == 4
    assert all(host.layers == cluster.hosts[0].layers for host in cluster.hosts)
    block = times_of(cluster.hosts[1], cluster.hosts[0].layers[1].layer, 32)
    assert min(block.forward_s, block.input_s, block.weight_s) > 0
    assert "residual(" in ended.out and "both ways" in ended.out
    quiet = run(2, "probe", "--quiet")
    assert (quiet.status, quiet.out) == (0, ""), quiet.err


def test_times_of_layers_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = settings(train_epochs=0, train_steps=1)
    first = run(2, "train", "--quiet", *sets)
    assert first.status == 0, first.err
    kept = tmp_path / "results" / "calibration.json"
    written = kept.read_text()
    (record,) = json.loads(written)["records"]
    assert len(record["layers"]) == 4 and len(record["setting"]["threads"]) == 2
    assert run(2, "train", "--quiet", *sets).status == 0
    (again,) = json.loads(kept.read_text())["records"]
    assert again["setting"] == record["setting"] and len(again["layers"]) == 4
    kept.write_text(written[:-20])
    damaged = run(2, "plan", "--quiet")
    assert damaged.status == 0
    assert damaged.err.count("notice: times of layers are taken again: results/calibration.json: is not JSON") == 1
    assert len(json.loads(kept.read_text())["records"]) == 1
