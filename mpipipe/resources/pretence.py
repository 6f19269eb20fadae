"""Hosts that ranks pretend to be: slower ones, with less memory, joined by slower links. Read from a TOML file.

Plain data. Made true by the work queue (speeds), the runtime's slow links, and `pretended` (what is planned with).
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.errors import UserError, nearest
from mpipipe.records import from_plain, read_text
from mpipipe.resources.cluster import MOST_THREADS, Cluster, Host

MOST_LATENCY_S = 60.0


class PretenceError(UserError):
    """A file of pretended hosts that cannot be used."""


@dataclass(frozen=True)
class PretendHost:
    """One rank's host: each task takes 1 / `speed` as long as it does; at most `memory_bytes` are said to be free, and
    `threads` to be usable (0: what is there). Ranks of one name are on one host."""

    name: str
    speed: float = 1.0
    memory_bytes: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Link:
    """Between two hosts, each way: a message takes its bytes / `bandwidth` (bytes a second), and `latency_s` more.

    A bandwidth of 0 is what is there.
    """

    latency_s: float = 0.0
    bandwidth: float = 0.0

    def busy_s(self, size: int) -> float:
        """Seconds that a message of `size` bytes keeps the link to itself."""
        return size / self.bandwidth if self.bandwidth else 0.0


@dataclass(frozen=True, kw_only=True)
class PairLink(Link):
    """The link between two hosts that differs from the others."""

    first: str
    second: str


@dataclass(frozen=True)
class Change:
    """From training step `step` on, counted from 1, `rank` has that speed: someone else uses its host."""

    rank: int
    step: int
    speed: float


@dataclass(frozen=True)
class Pretence:
    """Hosts in rank order. `link` joins any two of different names that no table of `links` joins."""

    hosts: tuple[PretendHost, ...]
    link: Link = Link()
    links: tuple[PairLink, ...] = ()
    changes: tuple[Change, ...] = ()

    def speed(self, rank: int, step: int) -> float:
        """That of a rank in training step `step`, counted from 1."""
        changes = [change for change in self.changes if change.rank == rank and change.step <= step]
        return max(changes, key=lambda change: change.step).speed if changes else self.hosts[rank].speed

    def link_between(self, rank: int, other: int) -> Link | None:
        """The link of two ranks; None on one host, and where it is what is there."""
        names = {self.hosts[rank].name, self.hosts[other].name}
        link = next((one for one in self.links if {one.first, one.second} == names), self.link)
        return link if len(names) == 2 and (link.latency_s or link.bandwidth) else None


def load_pretence(path: Path, ranks: int) -> Pretence:
    """The checked pretence of a TOML file, for so many ranks. Raises PretenceError naming file and key."""
    try:
        table = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as reason:
        raise PretenceError(str(path), f"not TOML ({reason})", "a TOML file as jobs/pretend.toml") from reason
    except (OSError, ValueError) as reason:
        raise PretenceError(str(path), f"cannot be read ({reason})", "a TOML file") from reason
    pretence = from_plain(Pretence, table, str(path), PretenceError)
    for key, found, needed, remedy in _faults(pretence, ranks):
        raise PretenceError(f"{path}: {key}", found, needed, remedy)
    return pretence


def pretended(cluster: Cluster, pretence: Pretence) -> Cluster:
    """The hosts that the measured ones pretend to be, at the beginning of training."""
    pairs = zip(cluster.hosts, pretence.hosts, strict=True)
    return replace(cluster, hosts=tuple(_disguised(host, mask) for host, mask in pairs))


def pretence_text(pretence: Pretence, source: str) -> str:
    """One line on what is pretended."""
    names = dict.fromkeys(host.name for host in pretence.hosts)
    speeds = ", ".join(f"{host.speed:g}" for host in pretence.hosts)
    pairs = [f"{one.first} to {one.second} {_link_text(one)}" for one in pretence.links]
    links = ", ".join([_link_text(pretence.link), *pairs])
    changes = [f"{one.speed:g} on rank {one.rank} from step {one.step} on" for one in pretence.changes]
    plural = "" if len(names) == 1 else "s"
    text = f"pretending to be {len(names)} host{plural} by {source}: speeds {speeds}; links {links}"
    return "; then ".join([text, ", ".join(changes)] if changes else [text])


def _disguised(host: Host, mask: PretendHost) -> Host:
    return replace(
        host,
        name=mask.name,
        hostname="",
        available_bytes=min(host.available_bytes, mask.memory_bytes or host.available_bytes),
        threads=mask.threads or host.threads,
        cores=0.0,
        pool="",
        matrix_flops=host.matrix_flops * mask.speed,
        elements=host.elements * mask.speed,
    )


def _link_text(link: Link) -> str:
    parts = [f"{link.bandwidth * 8 / 1e6:g} Mbit/s"] if link.bandwidth else []
    parts += [f"{link.latency_s * 1e3:g} ms"] if link.latency_s else []
    return " and ".join(parts) or "as they are"


def _faults(pretence: Pretence, ranks: int) -> Iterator[tuple[str, str, str, str]]:
    """Key, what was found, what was needed, and what to do."""
    hosts, names = pretence.hosts, [host.name for host in pretence.hosts]
    if len(hosts) != ranks:
        needed = f"{ranks}: one for each rank that was started"
        yield (
            "hosts",
            f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}",
            needed,
            f"start with mpirun -n {len(hosts)}" if hosts else "",
        )
    for i, host in enumerate(hosts):
        if not host.name:
            yield f"hosts[{i}].name", "empty", "a name", ""
        yield from _speed_faults(f"hosts[{i}] ({host.name}).speed", host.speed)
        for key in ("memory_bytes", "threads"):
            if getattr(host, key) < 0:
                yield f"hosts[{i}] ({host.name}).{key}", f"{getattr(host, key)}", "0 (what is there) or more", ""
        if host.threads > MOST_THREADS:
            yield f"hosts[{i}] ({host.name}).threads", f"{host.threads}", f"at most {MOST_THREADS}", ""
    yield from _link_faults("link", pretence.link)
    for i, pair in enumerate(pretence.links):
        for key, name in (("first", pair.first), ("second", pair.second)):
            if name not in names:
                yield f"links[{i}].{key}", f"'{name}'", "the name of one of the hosts", nearest(name, names)
        if pair.first == pair.second:
            yield f"links[{i}]", f"from {pair.first} to itself", "two different hosts", ""
        yield from _link_faults(f"links[{i}]", pair)
    for i, change in enumerate(pretence.changes):
        if not 0 <= change.rank < len(hosts):
            yield f"changes[{i}].rank", f"{change.rank}", f"a rank from 0 to {len(hosts) - 1}", ""
        if change.step < 1:
            yield f"changes[{i}].step", f"{change.step}", "a training step, 1 or more", ""
        yield from _speed_faults(f"changes[{i}].speed", change.speed)


def _speed_faults(key: str, speed: float) -> Iterator[tuple[str, str, str, str]]:
    if not 0.001 <= speed <= 1:
        yield key, f"{speed:g}", "a number from 0.001 to 1, the speed that is there", ""


def _link_faults(key: str, link: Link) -> Iterator[tuple[str, str, str, str]]:
    if not 0 <= link.latency_s <= MOST_LATENCY_S:
        yield f"{key}.latency_s", f"{link.latency_s:g}", f"seconds from 0 to {MOST_LATENCY_S:g}", ""
    if link.bandwidth and link.bandwidth < 1:
        yield f"{key}.bandwidth", f"{link.bandwidth:g}", "bytes a second, 1 or more; or 0 (what is there)", ""
