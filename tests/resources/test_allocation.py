"""Hosts that got no rank while others got several are noticed, with what to type."""

import os

import pytest

from mpipipe.resources import Cluster, Host, idle_notices, listed_hosts

HOSTFILE = """
# nine old computers
thinkpad slots=4   # here
root@mini1 slots=4
mini2:4
mini3
^mini8
mini3
"""


def cluster(*names):
    return Cluster(tuple(Host(rank, name, f"10.0.0.{rank}", 1, 1, 1, 1.0, 1.0) for rank, name in enumerate(names)))


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """The list that a rank sees below a launcher of some command line, with a shell between them."""
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setattr(os, "getppid", lambda: 40)  # ours may be 1, where every search ends
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "hosts").write_text(HOSTFILE)

    def process(number, comm, above, words=()):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "status").write_text(f"Name:\t{comm}\nPPid:\t{above}\n")
        (folder / "cmdline").write_text("\0".join(words) + "\0")
        return folder

    def listed(*words):
        process(os.getppid(), "bash", 41)
        launcher = process(41, "prterun", 1, ("prterun", *words, "python", "-m", "mpipipe"))
        if not (launcher / "cwd").exists():
            (launcher / "cwd").symlink_to(tmp_path / "work")
        return listed_hosts(tmp_path)

    return listed


def test_the_hosts_of_a_command_line(launched, tmp_path):
    names = ("thinkpad", "mini1", "mini2", "mini3")
    for words in (("-hostfile", "hosts"), ("--hostfile=hosts",), ("--machinefile", str(tmp_path / "work" / "hosts"))):
        assert launched("-n", "9", *words) == names
    assert launched("-H", "a:2,b,a") == launched("--host", "a,root@b:3") == ("a", "b")
    assert launched("-n", "9") == launched("--hostfile", "nowhere") == ()


def test_a_process_without_a_launcher_lists_no_hosts(launched, monkeypatch):
    monkeypatch.delenv("OMPI_COMM_WORLD_RANK")
    assert launched("-hostfile", "hosts") == ()


def test_idle_hosts_are_named():
    (notice,) = idle_notices(cluster("a", "a", "b", "b", "c"), ["a", "b", "c", "d", "e"])
    assert notice.startswith("several ranks share a host (2 on a, 2 on b), and d, e have none; to use all hosts, add ")
    assert "--map-by node" in notice and "slots=1" in notice


def test_hosts_are_known_by_any_of_their_names():
    (notice,) = idle_notices(cluster("a", "a", "b"), ["10.0.0.0", "b.example.org", "c"])
    assert "and c has none" in notice
    (notice,) = idle_notices(cluster("a", "a"), ["alias", "other"])
    assert "and 1 of the listed hosts has none" in notice


@pytest.mark.parametrize(
    "names, listed",
    [("ab", "abc"), ("aabb", "ab"), ("aab", ""), ("a", "a"), ("aa", "a")],
    ids=["one each", "two each", "no list", "one", "one host"],
)
def test_nothing_to_say(names, listed):
    assert idle_notices(cluster(*names), list(listed)) == []
