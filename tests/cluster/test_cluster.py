"""mpirun over ssh on nine pretend hosts, each with its own name, network and /tmp (see hosts.sh).

The command is the one that a user types on the first of nine computers, and the environment holds nothing for Open MPI
but its permission to run as root. Plain Open MPI binds each rank to one core, and these hosts all share the first one:
slow, but no reason for another setting.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import missing

pytestmark = pytest.mark.cluster

PROJECT = Path(__file__).parents[2]
HOSTS_SH = Path(__file__).with_name("hosts.sh")
HOSTS = ["thinkpad", *(f"mini{number}" for number in range(1, 9))]
MPIRUN = ["mpirun", "-hostfile", "hostfiles/minis", "-n", "9", "python", "-m", "mpipipe", "train"]
MINIS_SH = ["jobs/minis.sh"]
SHORT = ["digits", "--set", "train.epochs=0", "--set", "train.steps=6", "--out"]
ENDLESS = ["digits", "--set", "train.epochs=0", "--set", "train.steps=1000000", "--out"]
ENVIRONMENT = {
    "HOME": os.environ.get("HOME", "/root"),
    "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class Cluster:
    """Nine hosts that are up, and a folder that all of them see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.environment = {**ENVIRONMENT, "CLUSTER": str(folder / "hosts"), "VENV": sys.prefix, "SHARE": str(folder)}

    def hosts(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of hosts.sh."""
        command = [HOSTS_SH, *arguments]
        # Hosts that go on living must not keep a pipe open: hence no pipes here.
        with (self.folder / "hosts.log").open("w+") as log:
            done = subprocess.run(command, env=self.environment, stdout=log, stderr=log, timeout=60, check=False)
            log.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, log.read())

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """The command, started on thinkpad in the project's folder; what it prints goes to the log."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [HOSTS_SH, "run", *command], cwd=PROJECT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def printed(self) -> str:
        """The log so far. mpirun may strew NUL bytes into it."""
        return self.log.read_text(errors="replace").replace("\0", "")

    def ranks_on(self, host: str) -> bool:
        """Whether a rank runs on the host."""
        return self.hosts("on", host, "pgrep", "-f", "mpipipe train").returncode == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The hosts, with links of 1 Gbit/s, ended after the test whatever happens."""
    cluster = Cluster(tmp_path)
    try:
        up = cluster.hosts("up")
        if up.returncode:
            missing(f"mpirun over ssh on nine pretend hosts, which cannot be made here: {up.stdout.strip()}")
        assert cluster.hosts("shape", "1gbit").returncode == 0
        yield cluster
    finally:
        down = cluster.hosts("down")
    assert down.returncode == 0, down.stdout


def wait_until(true: Callable[[], bool], limit_s: float, what: Callable[[], str]) -> None:
    """Looks every tenth of a second."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"not within {limit_s} s: {what()}"
        time.sleep(0.1)


def test_nine_hosts_reach_the_weights_of_one_rank(cluster: Cluster, tmp_path: Path) -> None:
    train = cluster.start([*MPIRUN, *SHORT, str(tmp_path / "nine")])
    assert train.wait(timeout=120) == 0, cluster.printed()
    in_table = set(re.findall(r"^ *\d+ +(\w+) ", cluster.printed(), re.MULTILINE))
    assert in_table >= set(HOSTS), cluster.printed()

    alone = mpipipe("train", *SHORT, str(tmp_path / "one"))
    assert alone.returncode == 0, alone.stdout
    nine, one = (str(tmp_path / run / "checkpoints" / "step-00000006.h5") for run in ("nine", "one"))
    diff = mpipipe("inspect", nine, "--diff", one)
    assert diff.returncode == 0, diff.stdout
    assert "no difference" in diff.stdout, diff.stdout


def mpipipe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program outside the hosts, and without mpirun; with nobody to talk to, it needs no shared memory."""
    command = [sys.executable, "-m", "mpipipe", *arguments]
    return subprocess.run(
        command,
        env={**ENVIRONMENT, "OMPI_MCA_btl": "self"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def start_endless(cluster: Cluster, launcher: list[str], *more: str) -> subprocess.Popen[bytes]:
    """A job that is at work on all hosts, and would be for days."""
    train = cluster.start([*launcher, *ENDLESS, str(cluster.folder / "run"), *more])
    wait_until(lambda: "/1000000 " in cluster.printed(), 60, cluster.printed)
    assert train.poll() is None, cluster.printed()
    return train


def test_the_death_of_a_rank_ends_the_job_with_a_status_and_it_is_named(cluster: Cluster) -> None:
    train = start_endless(cluster, MPIRUN)
    assert cluster.hosts("on", "mini3", "pkill", "-KILL", "-f", "mpipipe train").returncode == 0
    assert train.wait(timeout=15) != 0, cluster.printed()
    line = r"^mpipipe: rank 3 on mini3 \(stage \d\): its process was killed or ended by itself; "
    wait_until(lambda: bool(re.search(line, cluster.printed(), re.MULTILINE)), 15, cluster.printed)
    wait_until(lambda: not any(map(cluster.ranks_on, HOSTS)), 15, lambda: "ranks are left")


def test_a_host_that_loses_its_power_ends_plain_mpirun_with_a_status_and_is_named(cluster: Cluster) -> None:
    train = start_endless(cluster, MPIRUN, "--set", "run.stall_s=5")
    assert cluster.hosts("poweroff", "mini5").returncode == 0
    assert train.wait(timeout=60) != 0, cluster.printed()
    assert re.search(r"^mpipipe: error: rank 5 on mini5 \(stage \d\): silent for ", cluster.printed(), re.MULTILINE)
    wait_until_no_rank_is_left(cluster)
    assert cluster.hosts("on", "thinkpad", "pgrep", "prterun|ssh$").returncode == 1


def need_venv() -> None:
    """jobs/minis.sh runs the Python of .venv."""
    if Path(sys.prefix) != PROJECT / ".venv":
        missing("jobs/minis.sh, which uses .venv, and this is another Python")


def test_the_crash_of_a_host_ends_the_job(cluster: Cluster) -> None:
    train = start_endless(cluster, MPIRUN)
    assert cluster.hosts("crash", "mini5").returncode == 0
    train.wait(timeout=15)  # Open MPI's status is sometimes 0 here
    wait_until_no_rank_is_left(cluster)


@pytest.mark.parametrize("fault", [["poweroff", "mini5"], ["link", "mini5", "down"]], ids=["poweroff", "cable"])
def test_a_host_that_falls_silent_ends_the_job_script_with_a_status(cluster: Cluster, fault: list[str]) -> None:
    need_venv()
    train = start_endless(cluster, MINIS_SH)
    assert cluster.hosts(*fault).returncode == 0
    assert train.wait(timeout=15) == 1, cluster.printed()
    assert "a host was lost" in cluster.printed()
    wait_until_no_rank_is_left(cluster)


def wait_until_no_rank_is_left(cluster: Cluster) -> None:
    """On any host but mini5, which is the one that was lost."""
    remaining = [host for host in HOSTS if host != "mini5"]
    wait_until(lambda: not any(map(cluster.ranks_on, remaining)), 15, lambda: "ranks are left")


def test_hosts_that_cannot_take_part_are_named_before_anything_starts(cluster: Cluster) -> None:
    need_venv()
    assert cluster.hosts("link", "mini2", "down").returncode == 0
    assert cluster.hosts("on", "mini7", "mount", "-t", "tmpfs", "none", f"{PROJECT}/.venv/bin").returncode == 0
    refused = cluster.start(MINIS_SH)
    assert refused.wait(timeout=30) == 2, cluster.printed()
    lines = cluster.printed().splitlines()
    assert sorted(line.split(":")[1].strip() for line in lines) == ["mini2", "mini7"], lines
    assert not any(map(cluster.ranks_on, ["thinkpad", "mini1"]))
