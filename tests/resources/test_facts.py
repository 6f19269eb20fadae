import os
import platform
import socket
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpipipe
from mpipipe.resources import facts, kernels
from mpipipe.resources.calibrate import Rates
from mpipipe.resources.cluster import Cluster, check_cluster

RATES = Rates(5e10, 2e9, 1.0)
GIB = 2**30
Ram = namedtuple("Ram", "total available")
Address = namedtuple("Address", "family address")
State = namedtuple("State", "isup")


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def ram(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Ram(16 * GIB, 12 * GIB))


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def network(monkeypatch, addresses, down=()):
    found = {name: [Address(socket.AF_INET, text) for text in texts] for name, texts in addresses.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {name: State(name not in down) for name in found})


def test_this_host_makes_a_usable_cluster():
    host = facts.host_facts(0, facts.Place(), "Open MPI 5.0.11", RATES)
    check_cluster(Cluster((host,)))
    assert (host.rank, host.name, host.mpi) == (0, socket.gethostname(), "Open MPI 5.0.11")
    assert (host.matrix_flops, host.elements) == (RATES.matrix_flops, RATES.elements)
    assert (host.numpy, host.python) == (np.__version__, platform.python_version())
    assert host.mpipipe == mpipipe.__version__
    assert host.available_bytes <= host.ram_bytes
    assert host.cpu and host.blas and host.kernel
    socket.inet_aton(host.ip)


def test_ranks_of_a_host_share_its_memory_and_threads(ram, eight_cores, monkeypatch):
    monkeypatch.setattr(facts, "_cgroup_folders", lambda controller, root: [])
    hosts = [facts.host_facts(rank, facts.Place(3, 3, rank), "", RATES) for rank in range(3)]
    assert [host.threads for host in hosts] == [3, 3, 2]
    assert {host.available_bytes for host in hosts} == {4 * GIB}
    assert {host.ram_bytes for host in hosts} == {16 * GIB}


@given(st.integers(1, 64), st.integers(1, 20))
def test_thread_shares_add_up(total, ranks):
    shares = [facts.share_of_threads(total, ranks, place) for place in range(ranks)]
    assert sum(shares) == max(total, ranks)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1


def test_a_bare_system_has_no_limits(tmp_path, ram, eight_cores, monkeypatch):
    assert facts.memory(tmp_path) == (16 * GIB, 12 * GIB)
    assert facts.usable_threads(tmp_path) == 8
    assert facts.cpu_model(tmp_path) in (platform.processor(), platform.machine())
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert facts.usable_threads(tmp_path) == 1
    assert facts.quota_period_s(tmp_path) == 0


def test_cgroup_v2_limits_of_an_ancestor_hold(tmp_path, ram, eight_cores):
    put(tmp_path, "proc/self/cgroup", "0::/user/job7\n")
    inner, outer = "sys/fs/cgroup/user/job7", "sys/fs/cgroup/user"
    put(tmp_path, f"{inner}/memory.max", "max\n")
    put(tmp_path, f"{inner}/cpu.max", "max 100000\n")
    put(tmp_path, f"{outer}/memory.max", f"{4 * GIB}\n")
    put(tmp_path, f"{outer}/memory.current", f"{3 * GIB}\n")
    put(tmp_path, f"{outer}/memory.stat", f"anon {GIB}\nfile {2 * GIB}\ninactive_file {2 * GIB}\n")
    put(tmp_path, f"{outer}/cpu.max", "250000 100000\n")
    assert facts.memory(tmp_path) == (4 * GIB, 3 * GIB)
    assert (facts.usable_cores(tmp_path), facts.usable_threads(tmp_path)) == (2.5, 3)
    assert facts.quota_period_s(tmp_path) == 0.1


def test_cgroup_v1_limits_hold(tmp_path, ram, eight_cores):
    put(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "4000\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "20000\n")
    put(tmp_path, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", f"{2 * GIB}\n")
    put(tmp_path, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", f"{GIB}\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert facts.memory(tmp_path) == (2 * GIB, GIB)
    assert facts.usable_threads(tmp_path) == 1
    assert facts.quota_period_s(tmp_path) == 0.02


def test_cgroup_v1_without_limits(tmp_path, ram, eight_cores):
    put(tmp_path, "proc/self/cgroup", "5:cpu:/\n4:memory:/\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    assert facts.memory(tmp_path) == (16 * GIB, 12 * GIB)
    assert facts.usable_threads(tmp_path) == 8
    assert facts.quota_period_s(tmp_path) == 0


def test_a_container_sees_its_group_as_the_top(tmp_path, ram):
    put(tmp_path, "proc/self/cgroup", "4:memory:/docker/0123abcd\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{2 * GIB}\n")
    assert facts.memory(tmp_path) == (GIB, 0)


def test_no_memory_left_still_counts_a_byte(ram, monkeypatch):
    monkeypatch.setattr(facts, "memory", lambda: (GIB, 0))
    assert facts.host_facts(0, facts.Place(), "", RATES).available_bytes == 1


ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0
eth1 00000000 0100000A 0003 0 0 100 00000000 0 0 0
eth1 0000000A 00000000 0001 0 0 100 00FFFFFF 0 0 0
"""


def test_address_is_that_of_the_best_default_route(tmp_path, monkeypatch):
    network(monkeypatch, {"lo": ["127.0.0.1"], "wlan0": ["192.168.1.5"], "eth1": ["10.0.0.5"]})
    put(tmp_path, "proc/net/route", ROUTES)
    assert facts.ip_address(tmp_path) == "10.0.0.5"


def test_address_without_a_route_is_the_first_that_is_up(tmp_path, monkeypatch):
    network(monkeypatch, {"lo": ["127.0.0.1"], "eth0": ["10.9.0.1"], "eth1": ["10.0.0.5"]}, down=("eth0",))
    assert facts.ip_address(tmp_path) == "10.0.0.5"


def test_address_of_a_lone_host_is_loopback(tmp_path, monkeypatch):
    network(monkeypatch, {"lo": ["127.0.0.1"], "eth0": []})
    assert facts.ip_address(tmp_path) == "127.0.0.1"


@pytest.mark.parametrize(
    "text, model",
    [
        ("model\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n", "AMD EPYC"),
        ("processor\t: 0\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n", "Raspberry Pi 4 Model B Rev 1.4"),
    ],
)
def test_cpu_model(tmp_path, text, model):
    put(tmp_path, "proc/cpuinfo", text)
    assert facts.cpu_model(tmp_path) == model


SIMD = {"baseline": ["SSE2"], "found": ["AVX2", "AVX512_SKX"], "not found": []}


def pool(**more):
    return {"user_api": "blas", "internal_api": "openblas", "version": "0.3.31", "architecture": "Zen", **more}


@pytest.mark.parametrize(
    "pools, config, expected",
    [
        ([pool()], {"SIMD Extensions": SIMD}, ("openblas 0.3.31", "Zen/AVX512_SKX")),
        ([pool()], {"SIMD Extensions": {"baseline": ["NEON"]}}, ("openblas 0.3.31", "Zen/NEON")),
        ([pool()], {}, ("openblas 0.3.31", "Zen")),
        ([{"user_api": "openmp"}], {"Build Dependencies": {"blas": {"name": "accelerate"}}}, ("accelerate", "")),
        ([], {}, ("", "")),
        (
            [
                pool(filepath="scipy.libs/a.so", version="0.3.20", architecture="Prescott"),
                pool(filepath="numpy.libs/b.so"),
            ],
            {},
            ("openblas 0.3.31", "Zen"),
        ),
    ],
)
def test_blas_and_kernel(monkeypatch, pools, config, expected):
    monkeypatch.setattr(facts, "threadpool_info", lambda: pools)
    monkeypatch.setattr(kernels, "threadpool_info", lambda: pools)
    monkeypatch.setattr(kernels, "_library", lambda: None)
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    assert facts.blas_and_kernel() == expected
