"""Who is here: every rank measures its host, all at the same moment, and rank 0 gets the Cluster."""

import os
from dataclasses import replace
from typing import Any

from mpipipe.records import from_plain, to_plain
from mpipipe.resources import Cluster, Host, Place, check_versions, host_facts, measure_rates
from mpipipe.runtime.world import World


def survey(world: World, threads: int = 0) -> Cluster | None:
    """Every rank calls this; the Cluster on rank 0, None elsewhere. `threads` above 0 overrides what is measured.

    Raises ClusterError (or Stopped) where hosts cannot work together.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    seats = world.gather([world.host, cores])
    places = world.share(lambda: _places(seats or []))
    world.meet()
    rates = measure_rates()
    host = host_facts(world.rank, from_plain(Place, places[world.rank], "place"), world.mpi_version, rates)
    told = world.gather(to_plain(host))
    cluster = None if told is None else Cluster(tuple(from_plain(Host, one, "host") for one in told))
    return _with_threads(_levelled(cluster), threads) if cluster else None


def versions_notices(world: World, cluster: Cluster | None) -> list[str]:
    """Notices on unlike kernels, on rank 0. All ranks end where mpipipe or MPI differ."""
    notices: list[str] = world.share(lambda: check_versions(cluster) if cluster else [])
    return notices


def _places(seats: list[Any]) -> list[Any]:
    places = []
    for rank, (host, cores) in enumerate(seats):
        here = [other for other, (name, _) in enumerate(seats) if name == host]
        sharing = [other for other in here if not cores or set(cores) & set(seats[other][1])]
        places.append(to_plain(Place(len(here), len(sharing), sharing.index(rank))))
    return places


def _levelled(cluster: Cluster) -> Cluster:
    """Ranks of one host are alike: each gets the mean of their rates, and the least of the memory that they saw."""
    groups: dict[str, list[Host]] = {}
    for host in cluster.hosts:
        groups.setdefault(host.name, []).append(host)
    return Cluster(tuple(_level(host, groups[host.name]) for host in cluster.hosts))


def _level(host: Host, group: list[Host]) -> Host:
    return replace(
        host,
        matrix_flops=sum(one.matrix_flops for one in group) / len(group),
        elements=sum(one.elements for one in group) / len(group),
        available_bytes=min(one.available_bytes for one in group),
    )


def _with_threads(cluster: Cluster, threads: int) -> Cluster:

    if not threads:
        return cluster
    return Cluster(tuple(replace(host, threads=threads) for host in cluster.hosts))
