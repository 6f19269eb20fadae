"""Choosing BLAS's kernel: a pure choice by property, and the switch itself in a process of its own."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import missing

from mpipipe.resources import choose_kernel, current_kernel, kernel_rates, kernels, use_kernel
from mpipipe.resources.kernels import CHOICES, CLEARLY, VARIABLE
from mpipipe.survey import _choice

FIRST, LAST = CHOICES[0], CHOICES[-1]
SPEEDS = st.floats(1e8, 1e12)
HOSTS = st.lists(st.dictionaries(st.sampled_from(CHOICES), SPEEDS), max_size=5)


def together(hosts, name):
    return sum(host[name] for host in hosts)


@given(HOSTS)
def test_only_a_kernel_that_all_hosts_can_run_is_chosen(hosts):
    able = [name for name in CHOICES if all(name in host for host in hosts)] if hosts else []
    chosen = choose_kernel(hosts)
    assert chosen in able if able else chosen == ""


@given(HOSTS)
def test_the_first_is_chosen_unless_a_later_one_is_clearly_faster_together(hosts):
    chosen = choose_kernel(hosts)
    if chosen:
        able = [name for name in CHOICES if all(name in host for host in hosts)]
        for other in able[able.index(chosen) + 1 :]:
            assert together(hosts, other) <= CLEARLY * together(hosts, chosen)
        for other in able[: able.index(chosen)]:
            assert together(hosts, chosen) > CLEARLY * together(hosts, other)


@given(HOSTS, st.randoms())
def test_neither_the_order_of_hosts_nor_that_of_their_rates_decides(hosts, random):
    mixed = [dict(random.sample([*host.items()], len(host))) for host in hosts]
    random.shuffle(mixed)
    assert choose_kernel([*hosts, *hosts]) == choose_kernel([*mixed, *mixed][::-1]) or not hosts


@pytest.mark.parametrize(
    ("hosts", "chosen"),
    [
        ([], ""),
        ([{}], ""),
        ([{FIRST: 1.0, LAST: 9.0}, {}], ""),
        ([{FIRST: 1.0}], FIRST),
        ([{LAST: 1.0}], LAST),
        ([{FIRST: 1.0, LAST: CLEARLY}], FIRST),
        ([{FIRST: 1.0, LAST: 1.01 * CLEARLY}], LAST),
        ([{FIRST: 1.0, LAST: 2.0}, {FIRST: 9.0, LAST: 9.0}], FIRST),
        ([{FIRST: 1.0, LAST: 2.0}, {FIRST: 1.0}], FIRST),
    ],
)
def test_the_choice_by_hand(hosts, chosen):
    assert choose_kernel(hosts) == chosen


@pytest.mark.parametrize(
    ("told", "wanted", "chosen"),
    [
        ([("Haswell", {FIRST: 1.0, LAST: 9.0})], "auto", LAST),
        ([("Haswell", {FIRST: 1.0, LAST: 9.0})], FIRST, FIRST),
        ([("Zen", {FIRST: 1.0})], LAST, FIRST),
        ([("Zen", {}), ("Zen", {})], "auto", "Zen"),
        ([("Zen", {}), ("Haswell", {})], "auto", ""),
        ([("Zen", {}), ("Haswell", {FIRST: 1.0})], FIRST, ""),
        ([("", {})], "auto", ""),
        ([("Haswell", {FIRST: 1.0}), ("SkylakeX", {FIRST: 1.0, LAST: 9.0})], "auto", FIRST),
    ],
)
def test_what_is_wanted_comes_first_then_the_best_of_all_then_what_all_have(told, wanted, chosen):
    assert _choice(told, wanted) == chosen


def test_a_kernel_named_in_the_environment_leaves_nothing_to_choose(monkeypatch):
    monkeypatch.setenv(VARIABLE, current_kernel())
    assert kernel_rates() == {}


def test_a_blas_that_cannot_switch_has_the_kernel_that_it_has(monkeypatch):
    pools = [{"user_api": "blas", "architecture": "Zen"}]
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(kernels, "threadpool_info", lambda: pools)
    monkeypatch.setattr(kernels, "_library", lambda: None)
    assert current_kernel() == "Zen" and kernel_rates() == {}
    assert use_kernel("Zen") and not use_kernel("Haswell")
    pools.clear()
    assert current_kernel() == ""


# ---- the switch -------------------------------------------------------------------------------------------------

SWITCH = """
import json, os, numpy as np
from mpipipe.resources import current_kernel, kernel_rates, use_kernel
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
told["rates"], told["after"] = kernel_rates(), [current_kernel(), product()]
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
    assert switched["used"][FIRST][0], "every x86 CPU since 2013 can run it"


def test_a_kernel_that_is_not_there_is_refused(switched):
    able, now = switched["nonsense"]
    assert not able and now


def test_rates_are_those_of_all_kernels_that_can_be_used(switched):
    able = {name for name, (able, *_) in switched["used"].items() if able}
    assert set(switched["rates"]) == able and min(switched["rates"].values()) > 1e7


def test_the_environment_is_left_as_it_was(switched):
    assert switched["left"] is None
