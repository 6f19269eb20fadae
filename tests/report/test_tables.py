import io
from dataclasses import replace

import pytest
from rich.console import Console

from mpipipe.report import hosts_table, plan_table, plan_text
from mpipipe.resources.cluster import Cluster

from .records import cluster, host, plan

WIDTHS = (80, 100, 120, 200)


def lines(table, width):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(table)
    text = stream.getvalue()
    assert text.isascii()
    assert all(len(line) <= width for line in text.splitlines())
    return text.splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_hosts_keep_names_and_numbers_whole(width):
    text = "\n".join(lines(hosts_table(cluster(9), width), width))
    for one in cluster(9).hosts:
        assert one.name in text
        assert one.ip in text
    for number in ("15.0 GiB", "15.8 GiB", "16.0 GiB", "85.2", "9.47", "SkylakeX/AVX512_SKX"):
        assert number in text


def test_a_wide_table_has_one_line_a_host():
    first = next(line for line in lines(hosts_table(cluster(), 120), 120) if "mini1" in line)
    assert first.split()[:3] == ["0", "mini1", "192.168.100.100"]
    assert "15.0 GiB  16.0 GiB" in first


def test_versions_that_all_share_stand_once():
    text = "\n".join(lines(hosts_table(cluster(), 120), 120))
    assert "on every host: mpipipe 0.1.0, Open MPI 5.0.11, Python 3.11.7, numpy 2.4.6, openblas 0.3.31" in text
    assert text.count("2.4.6") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_versions_that_differ_stand_with_their_host(width):
    mixed = Cluster((host(0), host(1, numpy="2.0.2", python="3.12.1", blas="openblas 0.3.27.44.8")))
    found = lines(hosts_table(mixed, width), width)
    text = "\n".join(found)
    for version in ("numpy 2.4.6", "numpy 2.0.2", "Python 3.11.7", "Python 3.12.1", "openblas 0.3.27.44.8"):
        assert text.count(version) == 1
    assert "on every host: mpipipe 0.1.0, Open MPI 5.0.11" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_very_long_name_folds_and_loses_nothing(width):
    name = "ip-10-0-12-34.machines.of.the.second.floor.example"
    found = lines(hosts_table(Cluster((host(0, name=name),)), width), width)
    start = next(line.index("host") for line in found if "host" in line)
    rule = next(index for index, line in enumerate(found) if line.startswith("---"))
    assert "".join(line[start:].split("  ")[0] for line in found[rule + 1 : -1]).startswith(name)
    assert "192.168.100.100" in "\n".join(found) and "85.2" in "\n".join(found)


def test_a_host_that_says_little_still_shows():
    bare = host(0, cpu="", blas="", kernel="", python="", numpy="", mpi="", mpipipe="")
    assert any("mini1" in line for line in lines(hosts_table(Cluster((bare,)), 80), 80))


@pytest.mark.parametrize("width", WIDTHS)
def test_plan_shows_every_stage(width):
    text = "\n".join(lines(plan_table(plan(), width), width))
    for part in ("laptop-anna", "mini1", "0..3", "conv1..pool", "dense", "3.10", "7.10", "12.3", "22.1", "312.0 MiB"):
        assert part in text


def test_plan_lines_are_in_pipeline_order():
    rows = [" ".join(line.split()) for line in lines(plan_table(plan(), 120), 120)[3:]]
    assert rows[0] == "0 1 laptop-anna 0..3 conv1..pool 3 2 3.10 7.10 0.84 312.0 MiB 15.0 GiB"
    assert rows[1] == "1 0 mini1 4 dense 2 1 12.3 22.1 1.0 GiB 16.0 GiB"


def test_plan_text():
    assert plan_text(plan()) == [
        "predicted: 42.1 ms a step, 3040 samples/s (128 samples in 4 micro-batches of 32)",
        "schedule: 1f1b, 2 stages on 3 ranks, bubble 18.2% of the step",
        "note: rank 2 stays idle [slow]",
    ]
    small = replace(plan(), batch=1, micro_batch=1, stages=plan().stages[:1], ranks=1, step_s=0.0)
    assert "(1 sample in 1 micro-batch of 1)" in plan_text(small)[0]
    assert "1 stage on 1 rank," in plan_text(small)[1]
