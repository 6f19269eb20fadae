"""The file of times of layers: what it gives back, when it does not, and what becomes of a damaged one."""

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.calibration import PATH, Subject, recall, remember, sizes
from mpipipe.job import Job, ModelSettings, TrainSettings
from mpipipe.layers import build_model, signature
from mpipipe.measure import measure_alone, time_in_rounds
from mpipipe.resources import Cluster, Host, LayerTimes

LAYERS = ({"kind": "linear", "outputs": 4}, {"kind": "relu"})
JOB = Job(model=ModelSettings(layers=LAYERS), train=TrainSettings(batch=8, micro_batch=4))
MODEL = build_model(JOB.model, (3,))


def host(rank, name="mini0", **more):
    return Host(rank, name, "", 1 << 40, 1 << 40, 1, 1e9, 1e9, **more)


def subject(*hosts, job=JOB):
    return Subject(Cluster(hosts or (host(0),)), job, MODEL)


def times(layer="some()", micro_batch=4, forward_s=1e-3):
    return LayerTimes(layer, micro_batch, forward_s, 0.0, 0.5)


def timed(one, *layers):
    return replace(one, cluster=Cluster(tuple(replace(each, layers=layers) for each in one.cluster.hosts)))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / PATH


def known(one, path):
    return [each.layers for each in recall(one, True, path).cluster.hosts]


def test_what_is_remembered_is_recalled(path, capsys):
    one = subject(host(0), host(1))
    assert known(one, path) == [(), ()]
    remember(timed(one, times(), times("other()")), True, path)
    remember(timed(one, times(forward_s=2e-3)), True, path)
    everything = (times(forward_s=2e-3), times("other()"))
    assert known(one, path) == [everything, everything]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "other",
    [
        subject(host(0, "mini1")),
        subject(replace(host(0), ip="192.0.2.1")),
        subject(host(0, cpu="newer")),
        subject(host(0, kernel="Zen")),
        subject(host(0, numpy="3.0")),
        subject(host(0, blas="openblas 1")),
        subject(host(0), host(1)),
        subject(replace(host(0), threads=2)),
        subject(job=replace(JOB, train=replace(JOB.train, tile_rows=7))),
        subject(host(0), host(1, "mini1"), host(2, "mini2"), host(3, "mini3")),
    ],
    ids=["host", "address", "cpu", "kernel", "numpy", "blas", "ranks", "threads", "tile_rows", "swept"],
)
def test_another_setting_is_timed_anew(path, other):
    remember(timed(subject(), times()), True, path)
    assert known(subject(), path) == [(times(),)]
    assert known(other, path)[0] == ()


def test_other_hosts_stay_in_the_file(path):
    both = subject(host(0), host(1, "mini1"))
    remember(timed(both, times()), True, path)
    alone = subject(host(0))
    remember(timed(alone, times("alone()")), True, path)
    assert known(both, path) == [(times(),), (times(),)]
    assert known(alone, path) == [(times("alone()"),)]


@given(st.data())
@settings(max_examples=60)
def test_a_damaged_file_is_as_none(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "calibration.json"
    remember(timed(subject(), times()), True, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for layers in known(subject(), path):
        assert all(0 < each.forward_s < float("inf") for each in layers)
    remember(timed(subject(), times()), True, path)
    assert times() in known(subject(), path)[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is not JSON"),
        ("[]", "is not a table"),
        ('{"record": []}', "unknown key"),
        (None, "forward_s: -1.0; needed: a number above 0"),
    ],
)
def test_a_notice_on_a_file_of_no_use(path, capsys, content, why):
    if content is None:
        remember(timed(subject(), times()), True, path)
        content = path.read_text().replace("0.001", "-1.0")
    path.write_text(content)
    assert known(subject(), path) == [()]
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"mpipipe: notice: times of layers are taken again: {path}") and why in err
    remember(timed(subject(), times()), False, path)
    assert known(subject(), path) == [(times(),)]
    assert capsys.readouterr() == ("", "")


def test_places_that_cannot_be_written(tmp_path, capsys):
    remember(timed(subject(), times()), True, tmp_path / PATH)
    assert list(tmp_path.iterdir()) == []  # no folder of results is made for it
    (tmp_path / PATH).mkdir(parents=True)  # a folder where the file would be
    remember(timed(subject(), times()), True, tmp_path / PATH)
    assert "notice: times of layers are not kept, and will be taken again: " in capsys.readouterr().err
    assert known(subject(), tmp_path / PATH) == [()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(path, capsys):
    path.parent.chmod(0o500)
    remember(timed(subject(), times()), True, path)
    assert "are not kept" in capsys.readouterr().err


def test_times_of_another_micro_batch_are_others(path):
    first = measure_alone(recall(subject(), True, path))
    assert [one.micro_batch for one in first.cluster.hosts[0].layers] == [4, 4]
    remember(first, True, path)
    written = json.loads(path.read_text())
    assert known(subject(), path) == [first.cluster.hosts[0].layers]
    other = subject(job=replace(JOB, train=replace(JOB.train, micro_batch=2)))
    assert len(measure_alone(other).cluster.hosts[0].layers) == 2
    assert json.loads(path.read_text()) == written


def test_every_size_of_micro_batches_to_choose_from_is_remembered_and_recalled(path):
    """A job that leaves the size open asks for several."""
    one = subject(host(0))
    open_ = one.at(0)
    assert sizes(one.job) == (one.job.train.micro_batch,)
    every = tuple(times(micro_batch=size) for size in sizes(open_.job))
    assert len(every) > 1
    remember(timed(open_, *every), True, path)
    assert known(open_, path) == [every]


@pytest.mark.parametrize(("slower", "rounds"), [(1.05, [["linear"], []]), (1.4, [["linear"], ["linear", "relu"]])])
def test_one_layer_tells_whether_a_host_is_as_it_was(slower, rounds):
    """Its costliest. A host that takes as long for it as before keeps its times; of another, all are taken again."""
    names = [signature(MODEL, i) for i in range(len(LAYERS))]
    linear, relu = times(names[0], forward_s=2e-3), times(names[1], forward_s=1e-3)
    other = {one.layer: replace(one, forward_s=slower * one.forward_s) for one in (linear, relu)}
    other = {name: replace(one, weight_s=slower * one.weight_s) for name, one in other.items()}
    asked = []

    def time_all(errand):
        (wanted,) = errand.wanted[0]
        asked.append([name.partition("(")[0] for name in wanted])
        return [tuple(other[name] for name in wanted)]

    found = time_in_rounds(timed(subject(), linear, relu), time_all)
    assert asked == rounds
    assert found.cluster.hosts[0].layers == ((linear, relu) if slower < 1.1 else tuple(other.values()))


def test_a_host_without_times_has_all_taken_at_once():
    names = [signature(MODEL, i) for i in range(len(LAYERS))]
    asked = []

    def time_all(errand):
        asked.append(errand.wanted[0][0])
        return [tuple(times(name) for name in errand.wanted[0][0])]

    found = time_in_rounds(subject(), time_all)
    assert asked == [(), tuple(names)]
    assert [one.layer for one in found.cluster.hosts[0].layers] == names
