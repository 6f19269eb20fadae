"""Pretended hosts: a file that is right reads back, one that is wrong is refused by file and key, masks fit."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mpipipe.resources import Cluster, Host, load_pretence, pretence_text, pretended
from mpipipe.resources.pretence import Link, PairLink, PretenceError

EXAMPLE = Path(__file__).parents[2] / "jobs" / "pretend.toml"
GOOD = """
link = { latency_s = 0.0002, bandwidth = 125e6 }
links = [{ first = "b", second = "c", latency_s = 0.003, bandwidth = 1e6 }]
changes = [{ rank = 1, step = 5, speed = 0.25 }, { rank = 1, step = 9, speed = 1 }]
hosts = [
    { name = "a" },
    { name = "b", speed = 0.5, memory_bytes = 1000 },
    { name = "c", threads = 3 },
    { name = "c" },
]
"""


def load(tmp_path, text, ranks=4):
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    return load_pretence(path, ranks)


def test_what_is_read(tmp_path):
    found = load(tmp_path, GOOD)
    assert [found.speed(1, step) for step in (1, 4, 5, 8, 9, 100)] == [0.5, 0.5, 0.25, 0.25, 1, 1]
    assert found.speed(0, 7) == 1
    assert found.link_between(2, 3) is None and found.link_between(0, 0) is None
    assert found.link_between(0, 1) == Link(0.0002, 125e6)
    assert found.link_between(3, 1) == found.link_between(1, 2) == PairLink(0.003, 1e6, first="b", second="c")
    assert pretence_text(found, "hosts.toml") == (
        "pretending to be 3 hosts by hosts.toml: speeds 1, 0.5, 1, 1; links 1000 Mbit/s and 0.2 ms, b to c 8 Mbit/s "
        "and 3 ms; then 0.25 on rank 1 from step 5 on, 1 on rank 1 from step 9 on"
    )


def test_the_shipped_example():
    found = load_pretence(EXAMPLE, 9)
    assert {host.speed for host in found.hosts} >= {0.3, 1.0}
    assert any(host.memory_bytes for host in found.hosts)


def test_a_file_may_say_little(tmp_path):
    found = load(tmp_path, '[[hosts]]\nname = "one"\n', 1)
    assert pretence_text(found, "f") == "pretending to be 1 host by f: speeds 1; links as they are"


def test_masks(tmp_path):
    real = Host(0, "vm", "", 10**9, 5000, 2, 8e9, 4e9)
    cluster = Cluster(tuple(replace(real, rank=rank) for rank in range(4)), "Haswell")
    masked = pretended(cluster, load(tmp_path, GOOD))
    assert [host.name for host in masked.hosts] == ["a", "b", "c", "c"]
    assert [host.matrix_flops for host in masked.hosts] == [8e9, 4e9, 8e9, 8e9]
    assert [host.elements for host in masked.hosts] == [4e9, 2e9, 4e9, 4e9]
    assert [host.available_bytes for host in masked.hosts] == [5000, 1000, 5000, 5000]
    assert [host.threads for host in masked.hosts] == [2, 2, 3, 2]
    assert masked.kernel == "Haswell" and [host.rank for host in masked.hosts] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{ name = "a" },', "", "hosts: 3 hosts; needed: 4: one for each rank.*mpirun -n 3"),
        ('name = "a"', 'name = ""', r"hosts\[0\]\.name: empty"),
        ('name = "a"', 'nam = "a"', r"hosts\[0\]\.nam: unknown key.*name"),
        ('name = "a"', "speed = 1", r"hosts\[0\]\.name: missing"),
        ("speed = 0.5", "speed = 0", r"hosts\[1\] \(b\)\.speed: 0; needed: a number from 0.001 to 1"),
        ("speed = 0.5", "speed = 2", r"hosts\[1\] \(b\)\.speed: 2"),
        ("speed = 0.5", "speed = nan", r"hosts\[1\]\.speed: nan is not finite"),
        ("speed = 0.5", 'speed = "slow"', r"hosts\[1\]\.speed: 'slow' is a string"),
        ("1000", "-1", r"hosts\[1\] \(b\)\.memory_bytes: -1"),
        ("threads = 3", "threads = -3", r"hosts\[2\] \(c\)\.threads: -3"),
        ("threads = 3", "threads = 3000", r"hosts\[2\] \(c\)\.threads: 3000; needed: at most 1024"),
        ("0.0002", "-0.0002", r"link\.latency_s: -0.0002; needed: seconds from 0 to 60"),
        ("125e6", "-1.0", r"link\.bandwidth: -1; needed: bytes a second"),
        ("bandwidth = 125e6", "speed = 125e6", r"link\.speed: unknown key"),
        ('second = "c"', 'second = "d"', r"links\[0\]\.second: 'd'; needed: the name of one of the hosts"),
        ('second = "c"', 'second = "b"', r"links\[0\]: from b to itself"),
        ("0.003", "61.0", r"links\[0\]\.latency_s: 61"),
        ("rank = 1, step = 5", "rank = 4, step = 5", r"changes\[0\]\.rank: 4; needed: a rank from 0 to 3"),
        ("step = 9", "step = 0", r"changes\[1\]\.step: 0"),
        ("speed = 0.25", "speed = -1", r"changes\[0\]\.speed: -1"),
        ("hosts = [", "hosts = ", "not TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_key(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(PretenceError, match=rf"^{re.escape(str(tmp_path))}/hosts\.toml.*{message}") as found:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert found.value.status == 2


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PretenceError, match="nowhere.toml: cannot be read"):
        load_pretence(tmp_path / "nowhere.toml", 2)
