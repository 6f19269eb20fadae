"""Choosing BLAS's kernel: a pure choice by property, and the switch itself in a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import missing

from mpipipe.errors import UserError
from mpipipe.resources import Kernels, choose_kernel, current_kernel, gain, kernels, kernels_here, other_kernels
from mpipipe.resources.families import Cpu, read_cpu
from mpipipe.resources.kernels import CHOICES, VARIABLE, suited_kernels, unusable_kernel, use_kernel
from mpipipe.survey import _choice

NEW, MIDDLE, OLD, OLDEST = CHOICES
ZEN_3, ZEN_4, ZEN_5 = Cpu("AuthenticAMD", 25, 1), Cpu("AuthenticAMD", 25, 17), Cpu("AuthenticAMD", 26, 2)
CPUS = st.sampled_from((ZEN_3, ZEN_4, ZEN_5, Cpu("GenuineIntel", 6, 0x55), Cpu("GenuineIntel", 6, 0x8C), Cpu()))


@st.composite
def hosts_of_any_kind(draw):
    """Hosts whose OpenBLAS can switch, hosts of which the environment fixed the kernel, and others."""
    usable = draw(st.sampled_from([CHOICES[i:] for i in range(4)] + [(name,) for name in (*CHOICES, "armv8", "")]))
    return Kernels(usable, suited_kernels(usable, draw(CPUS)))


HOSTS = st.lists(hosts_of_any_kind(), max_size=5)


@given(HOSTS, st.sampled_from(("auto", *CHOICES)))
def test_only_a_kernel_that_all_hosts_can_run_is_chosen(hosts, wanted):
    chosen = choose_kernel(wanted, hosts)
    able = [name for name in (hosts[0].usable if hosts else ()) if all(name in host.usable for host in hosts)]
    assert chosen in able if able else chosen == ""
    if wanted in able:
        assert chosen == wanted


@given(HOSTS, st.randoms(), st.integers(1, 3))
def test_neither_the_order_of_ranks_nor_their_number_on_a_host_decides(hosts, random, times):
    mixed = hosts * times
    random.shuffle(mixed)
    assert choose_kernel("auto", mixed) == choose_kernel("auto", hosts)


@given(st.lists(st.tuples(st.integers(0, 3), CPUS), min_size=1, max_size=5))
def test_a_host_for_which_it_is_not_known_to_be_faster_keeps_all_from_avx512(cpus):
    hosts = [Kernels(CHOICES[i:], suited_kernels(CHOICES[i:], cpu)) for i, cpu in cpus]
    chosen = choose_kernel("auto", hosts)
    oldest = max(i for i, _ in cpus)
    assert chosen == CHOICES[max(oldest, 0 if all(NEW in host.suited for host in hosts) else 1)]


@pytest.mark.parametrize(
    ("cpu", "best"),
    [
        (ZEN_4, MIDDLE),
        (ZEN_5, NEW),
        (Cpu("AuthenticAMD", 26, 0x24), MIDDLE),
        (Cpu("AuthenticAMD", 26, 0x44), NEW),
        (Cpu("GenuineIntel", 6, 0x55), NEW),
        (Cpu("GenuineIntel", 6, 0x8F), NEW),
        (Cpu("GenuineIntel", 6, 0x7E), MIDDLE),
        (Cpu("GenuineIntel", 6, 0xA7), MIDDLE),
        (Cpu("AuthenticAMD", 6, 0x55), MIDDLE),
        (Cpu("AuthenticAMD", 99, 1), MIDDLE),
        (Cpu(), MIDDLE),
    ],
)
def test_the_families_of_the_table(cpu, best):
    assert suited_kernels(CHOICES, cpu)[0] == best
    assert suited_kernels(CHOICES[1:], cpu) == CHOICES[1:] and suited_kernels((NEW,), cpu) == (NEW,)


CPUINFO = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: AMD EPYC\nstepping\t: 1\n\n"


def test_the_cpu_is_what_it_numbers_itself(tmp_path):
    assert read_cpu(tmp_path) == Cpu()
    (tmp_path / "proc").mkdir()
    info = tmp_path / "proc/cpuinfo"
    info.write_text(CPUINFO.format("AuthenticAMD", 26, 2) + CPUINFO.format("GenuineIntel", 6, 7))
    assert read_cpu(tmp_path) == ZEN_5
    info.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\n\nModel\t: Raspberry Pi 4\n")
    assert read_cpu(tmp_path) == Cpu()
    info.write_text(CPUINFO.format("AuthenticAMD", "", "unknown"))
    assert read_cpu(tmp_path) == Cpu("AuthenticAMD")


def test_a_fixed_kernel_is_what_other_hosts_use_too_if_they_can():
    free, fixed = Kernels(CHOICES, CHOICES), Kernels((MIDDLE,), (MIDDLE,))
    assert choose_kernel("auto", [free, fixed]) == choose_kernel(NEW, [fixed, free]) == MIDDLE
    assert choose_kernel("auto", [fixed, Kernels((NEW,), (NEW,))]) == ""
    zen_4 = Kernels(CHOICES, suited_kernels(CHOICES, ZEN_4))
    assert choose_kernel("auto", [zen_4, Kernels((NEW,), (NEW,))]) == NEW, "all can use it, though it suits not all"


def test_a_kernel_in_the_environment_that_a_cpu_cannot_run_is_refused_by_the_name_of_the_host():
    plain = {"usable": [NEW], "suited": [NEW]}
    with pytest.raises(UserError, match=f"{VARIABLE}: {NEW}, which the CPU of mini2 cannot run"):
        _choice([("mini1", "", plain), ("mini2", NEW, plain)], "auto")
    assert _choice([("mini1", "", plain), ("mini2", "", plain)], "auto") == NEW


def test_a_kernel_named_in_the_environment_leaves_nothing_to_choose(monkeypatch):
    monkeypatch.setenv(VARIABLE, current_kernel())
    assert kernels_here() == Kernels((current_kernel(),), (current_kernel(),))
    assert unusable_kernel() == ""


def test_a_blas_that_cannot_switch_has_the_kernel_that_it_has(monkeypatch):
    pools = [{"user_api": "blas", "architecture": "armv8"}]
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(kernels, "threadpool_info", lambda: pools)
    monkeypatch.setattr(kernels, "_library", lambda: None)
    kernels._newest.cache_clear()
    try:
        assert current_kernel() == "armv8" and kernels_here().usable == ("armv8",)
        assert use_kernel("armv8") and not use_kernel("Haswell") and unusable_kernel() == ""
        pools.clear()
        assert current_kernel() == "" and kernels_here().usable == ("",)
    finally:
        kernels._newest.cache_clear()


# ---- the notice ---------------------------------------------------------------------------------------------------


@given(HOSTS, st.sampled_from(CHOICES))
def test_only_what_all_hosts_can_use_is_compared(hosts, chosen):
    for other in other_kernels(chosen, hosts):
        assert other in (NEW, MIDDLE) and other != chosen and all(other in host.usable for host in hosts)


def test_what_is_gained_is_the_least_of_all_rounds_and_hosts():
    assert gain("a", "b", [{"a": [1.0, 2.0], "b": [2.0, 3.0]}, {"a": [1.0], "b": [9.0]}]) == 1.5


# ---- the switch -------------------------------------------------------------------------------------------------

SWITCH = """
import json, os, numpy as np
from mpipipe.resources import current_kernel, kernel_rates, kernels_here, use_kernel
from mpipipe.resources.kernels import CHOICES, _library
random = np.random.default_rng(0)
a, b = random.standard_normal((70, 300), np.float32), random.standard_normal((300, 90), np.float32)
product = lambda: (a @ b).tobytes().hex()
told = {"can": _library() is not None, "start": current_kernel(), "first": product(), "used": {}}
for name in CHOICES:
    able = use_kernel(name)
    told["used"][name] = [able, current_kernel(), product(), float(np.abs(a.astype(float) @ b - a @ b).max())]
told["nonsense"] = [use_kernel("Nonsense"), current_kernel()]
told["back"] = [use_kernel(told["start"]), current_kernel(), product()]
told["usable"] = kernels_here().usable
told["rates"], told["after"] = kernel_rates(told["usable"]), [current_kernel(), product()]
told["left"] = os.environ.get("OPENBLAS_CORETYPE")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def switched():
    """What a process without BLAS's variables tells of itself."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    ended = subprocess.run([sys.executable, "-c", SWITCH], env=bare, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    if not told["can"]:
        missing("an OpenBLAS that can change its kernel")
    return told


def test_switching_back_gives_the_same_products(switched):
    assert switched["back"] == [True, switched["start"], switched["first"]]
    assert switched["after"] == [switched["start"], switched["first"]]


def test_each_kernel_that_can_be_used_is_used_and_right(switched):
    for name, (able, now, _, error) in switched["used"].items():
        assert able == (now == name) and error < 1e-3
    assert switched["used"][OLDEST][0], "numpy itself needs such a CPU"


def test_no_kernel_is_used_that_this_cpu_cannot_run(switched):
    """OpenBLAS itself would use it, and die at the first product."""
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text())) if Path("/proc/cpuinfo").exists() else set()
    if "sse4_2" not in flags:
        missing("the flags of an x86 CPU")
    for name, flag in ((NEW, "avx512vl"), (MIDDLE, "avx2"), (OLD, "avx")):
        assert switched["used"][name][0] == (flag in flags), f"{name} needs {flag}"
    assert switched["usable"] == [name for name, (able, *_) in switched["used"].items() if able]


def test_a_kernel_of_the_environment_that_this_cpu_cannot_run_is_known(switched):
    able = [name for name, (able, *_) in switched["used"].items() if able]
    for name in CHOICES:
        code = "from mpipipe.resources import unusable_kernel; print(unusable_kernel())"
        env = {**os.environ, VARIABLE: name}
        ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == ("" if name in able else name)


def test_a_kernel_that_is_not_there_is_refused(switched):
    able, now = switched["nonsense"]
    assert not able and now


def test_rates_are_those_of_all_kernels_that_can_be_used(switched):
    able = {name for name, (able, *_) in switched["used"].items() if able}
    assert set(switched["rates"]) == able and all(min(rounds) > 0 for rounds in switched["rates"].values())


def test_the_environment_is_left_as_it_was(switched):
    assert switched["left"] is None
