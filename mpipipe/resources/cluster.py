"""The Cluster: what every rank said of its host. Plain data; knows no MPI, and reads back from a file anywhere."""

from dataclasses import dataclass
from pathlib import Path

from mpipipe.errors import UserError
from mpipipe.records import load_json, save_json


class ClusterError(UserError):
    """Hosts that cannot work together, or a cluster file that cannot be used."""


@dataclass(frozen=True)
class Host:
    """One rank's share of its host, and the versions it runs.

    `threads` are usable worker threads of this rank (affinity and cgroup limits count; ranks of one host share them);
    `ram_bytes` is the host's memory, `available_bytes` this rank's share of what is free. Rates are per thread,
    measured while all ranks of the host were measuring: float32 matrix product in flop/s, elementwise in elements/s.
    """

    rank: int
    name: str
    ip: str
    ram_bytes: int
    available_bytes: int
    threads: int
    matrix_flops: float
    elements: float
    cpu: str = ""
    blas: str = ""
    kernel: str = ""
    python: str = ""
    numpy: str = ""
    mpi: str = ""
    mpipipe: str = ""


@dataclass(frozen=True)
class Cluster:
    """All ranks, in rank order. `kernel` is the one of BLAS that all of them use; empty where they differ."""

    hosts: tuple[Host, ...]
    kernel: str = ""


def check_cluster(cluster: Cluster, where: str = "cluster") -> Cluster:
    """The same cluster, or ClusterError naming the first host and key that no plan could use."""
    if not cluster.hosts:
        raise ClusterError(f"{where}.hosts", "empty", "at least one host")
    for index, host in enumerate(cluster.hosts):
        at = f"{where}.hosts[{index}] ({host.name})"
        if host.rank != index:
            raise ClusterError(f"{at}.rank", f"{host.rank}", f"{index}: hosts stand in rank order")
        for key in ("threads", "matrix_flops", "elements", "ram_bytes", "available_bytes"):
            if getattr(host, key) <= 0:
                raise ClusterError(f"{at}.{key}", f"{getattr(host, key)}", "a number above 0")
    return cluster


def check_versions(cluster: Cluster) -> list[str]:
    """Notices on hosts that may round differently. ClusterError where mpipipe or the MPI library differ.

    Different BLAS or numpy kernels give results that differ in the last bits (law of same bits holds per kernel).
    """
    for key, what in (("mpipipe", "versions of mpipipe"), ("mpi", "MPI libraries")):
        groups = _groups(cluster, key)
        if len(groups) > 1:
            raise ClusterError(
                f"different {what}", groups_text(groups), "the same on every host", "install one of them"
            )
    notices = []
    for key, what in (("kernel", "CPU kernels"), ("numpy", "versions of numpy"), ("blas", "BLAS libraries")):
        groups = _groups(cluster, key)
        if len(groups) > 1:
            notices.append(f"hosts run different {what} ({groups_text(groups)}): results may differ in the last bits")
    return notices


def groups_text(groups: dict[str, list[str]]) -> str:
    """Such as `0.1.0 on mini1, mini2; 0.2.0 on mini3`."""
    return "; ".join(f"{value or 'unknown'} on {', '.join(names)}" for value, names in groups.items())


def save_cluster(cluster: Cluster, path: Path) -> None:
    """Write a cluster file."""
    save_json(cluster, path)


def load_cluster(path: Path) -> Cluster:
    """A checked cluster from a file, perhaps edited by hand. Raises ClusterError."""
    return check_cluster(load_json(Cluster, path, ClusterError), str(path))


def _groups(cluster: Cluster, key: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for host in cluster.hosts:
        names = groups.setdefault(getattr(host, key), [])
        if host.name not in names:
            names.append(host.name)
    return groups
