"""What jobs/hosts.sh promises: a line that names the host, before anything is started on any of them."""

from pathlib import Path

import pytest

from .conftest import Scripts

HERE = "Python 3.11 with mpipipe 1.0"
SSH = f"""
host=$5
case $host in
    old) echo "Python 3.9 with mpipipe 1.0" ;;
    bare) echo "bash: python: No such file or directory" >&2; exit 127 ;;
    empty) echo "Traceback" >&2; echo "ModuleNotFoundError: No module named 'mpipipe'" >&2; exit 1 ;;
    off) echo "ssh: connect to host off port 22: No route to host"$'\\r' >&2; exit 255 ;;
    *) echo "{HERE}" ;;
esac
"""


def hostfile(scripts: Scripts, text: bytes) -> Path:
    """A hostfile for minis.sh."""
    file = scripts.top / "hosts"
    file.write_bytes(text)
    scripts.environment["HOSTFILE"] = str(file)
    scripts.act("ssh", SSH)
    scripts.act("python", f"[ -z \"$2\" ] || echo '{HERE}'")
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"localhost slots=1\r\nmini1\r\n", "CR LF"),
        (b"\xef\xbb\xbflocalhost\n", "byte order mark"),
        (b"# nobody\n\n", "no host in it"),
        (b"192.0.2.77\nlocalhost\n", "the first host, 192.0.2.77, is not this machine"),
    ],
)
def test_a_hostfile_that_cannot_be_used_is_refused(scripts: Scripts, text: bytes, said: str) -> None:
    hostfile(scripts, text)
    status, printed = scripts.run("minis.sh")
    assert status == 2
    assert said in printed
    assert printed.count("\n") == 1
    assert "mpirun" not in scripts.calls()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("old", "Python 3.9 with mpipipe 1.0; needed: Python 3.11 with mpipipe 1.0"),
        ("bare", "no "),
        ("empty", "ModuleNotFoundError: No module named 'mpipipe'"),
        ("off", "ssh: connect to host off port 22: No route to host"),
    ],
)
def test_a_host_that_cannot_take_part_is_named(scripts: Scripts, host: str, said: str) -> None:
    hostfile(scripts, f"localhost slots=1\nmini1\n{host} slots=4 # why\n".encode())
    status, printed = scripts.run("minis.sh")
    assert status == 2
    assert f"minis.sh: {host}: {said}" in printed
    assert printed.count("\n") == 1
    assert "mini1" not in printed
    assert "mpirun" not in scripts.calls()


def test_all_hosts_that_cannot_take_part_are_named(scripts: Scripts) -> None:
    hostfile(scripts, b"localhost\nold\nbare\noff")
    _, printed = scripts.run("minis.sh")
    assert all(f"minis.sh: {host}: " in printed for host in ("old", "bare", "off")), printed


@pytest.mark.parametrize(("ranks", "said"), [("5", "several ranks"), ("2", "not in use: mini2"), ("3", "")])
def test_ranks_and_hosts(scripts: Scripts, ranks: str, said: str) -> None:
    hostfile(scripts, b"localhost slots=4\nmini1:2\n\n# mini7\nmini2\nmini1\n")
    scripts.environment["RANKS"] = ranks
    status, printed = scripts.run("minis.sh")
    assert status == 0
    assert said in printed
    assert bool(printed) == bool(said)
    assert f"-n {ranks} " in scripts.calls()


def test_a_rank_for_each_host_unless_said_otherwise(scripts: Scripts) -> None:
    hostfile(scripts, b"localhost slots=4\nmini1:2\nmini2\nmini1\n")
    assert scripts.run("minis.sh") == (0, "")
    assert "-n 3 " in scripts.calls()


def test_a_lost_host_is_no_success(scripts: Scripts) -> None:
    hostfile(scripts, b"localhost\nmini1\n")
    scripts.act("mpirun", "note ready; exit 0")
    assert scripts.run("minis.sh")[0] == 1
