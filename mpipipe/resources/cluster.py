"""The Cluster: what every rank said of its host. Plain data; knows no MPI, and reads back from a file anywhere."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.errors import UserError, nearest
from mpipipe.records import load_json, save_json
from mpipipe.resources.measured import OTHERS, LayerTimes, Link, assumed_link, scaled, slower_of

MOST_THREADS = 1024
"""Of one rank."""
MOST, SHORTEST_S, LONGEST_S = 2**60, 1e-12, 1e6
"""Bytes, and flops, elements or bytes a second; and seconds of a layer or a message: what lies beyond is a slip."""

ARITHMETIC = {"kernel": "CPU kernels", "numpy": "versions of numpy", "blas": "BLAS libraries"}
"""What decides how a host rounds, by its key in Host."""


class ClusterError(UserError):
    """Hosts that cannot work together, or a cluster file that cannot be used."""


@dataclass(frozen=True)
class Host:
    """One rank's share of its host, and the versions it runs.

    `threads` are usable worker threads of this rank (affinity and cgroup limits count; ranks of one host share them),
    `cores` the cores that all ranks of the host have for them together: fewer than threads where ranks outnumber the
    cores, a fraction under a CPU quota that is renewed after `period_s`, 0 for one each; `left` is the part of them
    that other processes left when they were measured. Seconds and rates are those of a thread that has a core of its
    own.
    `ram_bytes` is the host's memory, `available_bytes` this rank's share of what is free. Rates are per thread,
    measured while all ranks of the host were measuring: float32 matrix product in flop/s, elementwise in elements/s.
    `layers` are what layers of a job took, where they were measured; the rates answer for all others.
    `hostname` is what the host calls itself, where several do so and `name` tells them apart; else it is empty.
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
    cores: float = 0.0
    period_s: float = 0.0
    pool: str = ""
    left: float = 1.0
    layers: tuple[LayerTimes, ...] = ()
    hostname: str = ""

    @property
    def cores_left(self) -> float:
        """What others leave of the cores."""
        return self.cores * self.left

    @property
    def core_pool(self) -> str:
        """The same for all that take from the same cores: what `pool` says, else the host's name."""
        return self.pool or self.name


@dataclass(frozen=True)
class Cluster:
    """All ranks, in rank order. `kernel` is the one of BLAS that all of them use; empty where they differ.

    `links` are between pairs of hosts, where they were measured or written down.
    """

    hosts: tuple[Host, ...]
    kernel: str = ""
    links: tuple[Link, ...] = ()

    def link(self, one: str, other: str) -> Link:
        """The link between two hosts, by name: their own, else by what either has to any other, else as assumed."""
        for link in self.links:
            if link.joins(one, other):
                return link
        names = () if one == other else (one, other)
        parts = tuple(link for link in self.links if link.second == OTHERS and link.first in names)
        return slower_of(one, other, parts) if parts else assumed_link(one, other)


def ranks_sharing(cluster: Cluster, host: Host) -> list[Host]:
    """Those that take from the same cores, itself among them."""
    return [other for other in cluster.hosts if other.core_pool == host.core_pool]


def is_crowded(cluster: Cluster, host: Host) -> bool:
    """Whether the worker threads that share the host's cores outnumber them."""
    return 0 < host.cores_left < sum(other.threads for other in ranks_sharing(cluster, host))


def times_of(host: Host, signature: str, micro_batch: int) -> LayerTimes | None:
    """What a layer took on a host, if it was measured there at this micro-batch."""
    found = (times for times in host.layers if times.layer == signature and times.micro_batch == micro_batch)
    return next(found, None)


def slowed(host: Host, times: float) -> Host:
    """The host were it so many times as slow."""
    return replace(
        host,
        matrix_flops=host.matrix_flops / times,
        elements=host.elements / times,
        layers=tuple(scaled(one, times) for one in host.layers),
    )


def check_cluster(cluster: Cluster, where: str = "cluster") -> Cluster:
    """The same cluster, or ClusterError naming the first host or link, and its key, that no plan could use."""
    if not cluster.hosts:
        raise ClusterError(f"{where}.hosts", "empty", "at least one host")
    for index, host in enumerate(cluster.hosts):
        at = f"{where}.hosts[{index}] ({host.name})"
        if host.name in ("", OTHERS):
            raise ClusterError(f"{at}.name", f"'{host.name}'", f"a name; {OTHERS} in links is any other host")
        if host.rank != index:
            same = [other.name for other in cluster.hosts[:index] if other.rank == host.rank]
            found = f"{host.rank}, which {same[0]} has already" if same else f"{host.rank}"
            raise ClusterError(f"{at}.rank", found, f"{index}: hosts stand in rank order")
        _check_range(host, at, 1, MOST_THREADS, "threads")
        _check_range(host, at, 0, MOST_THREADS, "cores")
        _check_range(host, at, 1e-3, 1, "left")
        _check_range(host, at, 1, MOST, "matrix_flops", "elements", "ram_bytes", "available_bytes")
        for number, times in enumerate(host.layers):
            place = f"{at}.layers[{number}] ({times.layer})"
            check_times(times, place)
            if times_of(host, times.layer, times.micro_batch) is not times:
                raise ClusterError(place, "a second entry for this layer and micro-batch", "one", "delete one of them")
    for index, link in enumerate(cluster.links):
        _check_link(link, cluster, f"{where}.links[{index}]")
    return cluster


def check_times(times: LayerTimes, where: str) -> None:
    """Raises ClusterError for times that no layer takes."""
    _check_range(times, where, 1, MOST, "micro_batch")
    _check_range(times, where, SHORTEST_S, LONGEST_S, "forward_s")
    _check_range(times, where, 0, LONGEST_S, "input_s", "weight_s", "update_s")


def check_versions(cluster: Cluster) -> list[str]:
    """Notices on hosts that may round differently, or run another Python. ClusterError where mpipipe or the MPI library
    differ.

    Different BLAS or numpy kernels give results that differ in the last bits (law of same bits holds per kernel).
    Python itself computes nothing that is part of a result.
    """
    for key, what in (("mpipipe", "versions of mpipipe"), ("mpi", "MPI libraries")):
        groups = _groups(cluster, key)
        if len(groups) > 1:
            raise ClusterError(
                f"different {what}", groups_text(groups), "the same on every host", "install one of them"
            )
    unlike = [(key, what, "results may differ in the last bits") for key, what in ARITHMETIC.items()]
    unlike += [("python", "versions of Python", "install one of them on every host")]
    grouped = [(_groups(cluster, key), what, advice) for key, what, advice in unlike]
    notices = [
        f"hosts run different {what} ({groups_text(groups)}): {advice}"
        for groups, what, advice in grouped
        if len(groups) > 1
    ]
    if len({host.kernel.partition("/")[2] for host in cluster.hosts}) > 1:
        notices[0] += ". NPY_DISABLE_CPU_FEATURES, the same on all of them, can make numpy's alike: see jobs/README.md"
    return notices


def arithmetic(cluster: Cluster) -> dict[str, str]:
    """What rounds: of each kind, what all hosts use, or the different ones in rank order."""
    return {key: " and ".join(dict.fromkeys(getattr(host, key) for host in cluster.hosts)) for key in ARITHMETIC}


def groups_text(groups: dict[str, list[str]]) -> str:
    """Such as `0.1.0 on mini1, mini2; 0.2.0 on mini3`."""
    return "; ".join(f"{value or 'unknown'} on {', '.join(names)}" for value, names in groups.items())


def save_cluster(cluster: Cluster, path: Path) -> None:
    """Write a cluster file."""
    save_json(cluster, path)


def load_cluster(path: Path) -> Cluster:
    """A checked cluster from a file, perhaps edited by hand. Raises ClusterError."""
    return check_cluster(load_json(Cluster, path, ClusterError), str(path))


def _check_link(link: Link, cluster: Cluster, where: str) -> None:
    at = f"{where} ({link.first} to {link.second})"
    names = {host.name for host in cluster.hosts}
    for key, known in (("first", names), ("second", names | {OTHERS})):
        name = getattr(link, key)
        if name not in known:
            raise ClusterError(
                f"{at}.{key}", f"no host is named '{name}'", "a host of this cluster", nearest(name, known)
            )
    if next(other for other in cluster.links if other.joins(link.first, link.second)) is not link:
        raise ClusterError(at, "a second link between the same hosts", "one for each pair", "delete one of them")
    _check_range(link, at, SHORTEST_S, LONGEST_S, "latency_s")
    _check_range(link, at, 1, MOST, "bandwidth", "both_bandwidth")


def _check_range(record: object, where: str, least: float, most: float, *keys: str) -> None:
    for key in keys:
        value, needed = getattr(record, key), f"from {least:g} to {most:g}"
        if not 0 < value < math.inf:
            needed = "a number above 0" if least else "0 or a number above 0"
        if not least <= value <= most:
            raise ClusterError(f"{where}.{key}", f"{value}"[:40], needed)


def _groups(cluster: Cluster, key: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for host in cluster.hosts:
        names = groups.setdefault(getattr(host, key), [])
        if host.name not in names:
            names.append(host.name)
    return groups
