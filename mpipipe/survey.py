"""Who is here: every rank measures its host, all at the same moment, and rank 0 gets the Cluster."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpipipe.job import KERNELS, Job
from mpipipe.records import from_plain, to_plain
from mpipipe.resources import (
    KERNEL_VARIABLE,
    Cluster,
    ClusterError,
    Host,
    Kernels,
    Place,
    Pretence,
    Seat,
    arithmetic,
    boot_id,
    check_versions,
    choose_kernel,
    current_kernel,
    gain,
    host_facts,
    idle_notices,
    ip_address,
    kernel_rates,
    kernels_here,
    limiting_group,
    listed_hosts,
    load_pretence,
    measure_rates,
    names_notices,
    names_of,
    other_kernels,
    places_of,
    pretence_text,
    pretended,
    ranks_sharing,
    unusable_kernel,
    use_kernel,
)
from mpipipe.resume import Start
from mpipipe.runtime.world import World

CLEARLY = 1.25
"""Another kernel is worth a notice if it is this many times as fast in every round: from one round to the next, one
CPU varies by a tenth."""


@dataclass(frozen=True)
class Wishes:
    """What a job wants of the hosts: `threads` of each rank (0: what is there), BLAS's `kernel` ("auto": by CPU)."""

    threads: int = 0
    kernel: str = "auto"


def wishes(job: Job) -> Any:
    """Those of a job, as plain data."""
    return to_plain(Wishes(job.run.threads, job.train.kernel))


def agree_to_pretend(world: World, file: str | None) -> Pretence | None:
    """The hosts that all ranks pretend to be, by a file of rank 0's; None where none is named. Raises PretenceError."""
    if file is None:
        return None
    told = world.share(lambda: to_plain(load_pretence(Path(file), world.size)))
    return from_plain(Pretence, told, file)


def pretence_notices(pretence: Pretence | None, file: str | None) -> list[str]:
    """What is pretended, in a line; none where nothing is."""
    return [pretence_text(pretence, str(file))] if pretence else []


def survey(world: World, plain: Any, pretence: Pretence | None = None) -> Cluster | None:
    """Every rank calls this, with the Wishes as plain data; the Cluster on rank 0, None elsewhere.

    Raises ClusterError (or Stopped) where hosts cannot work together.
    """
    seats = world.gather(to_plain(_seat(world.host)))
    names, places = world.share(lambda: _seating(seats or []))
    own_name, world.host = world.host, names[world.rank]
    wanted = from_plain(Wishes, plain, "wishes")
    world.meet()
    kernel = _agree_on_kernel(world, wanted.kernel)
    world.meet()
    rates = measure_rates()
    host = host_facts(world.rank, from_plain(Place, places[world.rank], "place"), world.mpi_version, rates)
    host = replace(host, name=world.host, hostname="" if own_name == world.host else own_name)
    told = world.gather(to_plain(host))
    cluster = None if told is None else Cluster(tuple(from_plain(Host, one, "host") for one in told), kernel)
    if cluster is None:
        return None
    cluster = _levelled(cluster)
    return _with_threads(pretended(cluster, pretence) if pretence else cluster, wanted.threads)


def versions_notices(world: World, cluster: Cluster | None) -> list[str]:
    """Notices on idle hosts, hosts of one name and unlike kernels. All ranks end where mpipipe or MPI differ."""

    def notices() -> list[str]:
        assert cluster is not None
        return [*idle_notices(cluster, listed_hosts()), *names_notices(cluster), *check_versions(cluster)]

    told: list[str] = world.share(notices)
    return told


def host_notices(world: World, cluster: Cluster | None, plain: Any) -> list[str]:
    """Those on unlike hosts and on a kernel that the job (by its Wishes as plain data) left open."""
    return [*versions_notices(world, cluster), *kernel_notices(world, plain)]


def with_kernel(start: Start, kernel: str) -> Start:
    """The same start, its job naming the kernel that was chosen, so that a resumed run keeps it."""
    train = start.job.train
    if train.kernel in ("auto", kernel):
        named = kernel if kernel in KERNELS else "auto"
        return replace(start, job=replace(start.job, train=replace(train, kernel=named)))
    used = kernel or "what they were started with"
    is_set = KERNEL_VARIABLE in os.environ
    why = f"{KERNEL_VARIABLE} is set in the environment" if is_set else "not all ranks can use it"
    notice = f"the job wants the BLAS kernel {train.kernel}, but {why}; they use {used}"
    return replace(start, notices=(*start.notices, f"{notice}: results may differ in the last bits"))


def changed_rounding(versions: str, cluster: Cluster) -> list[str]:
    """A notice where these hosts round otherwise than those that a checkpoint names in its versions (JSON)."""
    before, now = json.loads(versions), arithmetic(cluster)
    changed = [f"{key} {before[key]} (now {now[key]})" for key in now if before.get(key, now[key]) != now[key]]
    if not changed:
        return []
    return [f"the checkpoint was computed with {', '.join(changed)}: results may differ in the last bits"]


def kernel_notices(world: World, plain: Any) -> list[str]:
    """Every rank calls this after `survey`: notices on a kernel that the job left open, on rank 0. One says that the
    environment fixed it, one that another would be clearly faster. What is measured for that decides nothing."""
    if from_plain(Wishes, plain, "wishes").kernel != "auto":
        return []
    here, kernel = kernels_here(), current_kernel()
    told = world.gather([to_plain(here), kernel, KERNEL_VARIABLE in os.environ])
    others: list[str] = world.share(lambda: _others(told or []))
    rates = world.gather(kernel_rates((kernel, *others)) if others else {})
    if told is None or rates is None:
        return []
    fixed = any(is_set for *_, is_set in told)
    notices = [f"{KERNEL_VARIABLE} in the environment fixes the BLAS kernel: {kernel}"] if fixed else []
    for other in others:
        times = gain(kernel, other, rates)
        if times >= CLEARLY:
            how = f"--set train.kernel={other} (the results differ in the last bits)"
            notices.append(f"matrix products would be {times:.2f} times as fast, or more, with {how}")
    return notices


def _others(told: list[Any]) -> list[str]:
    """The kernels that all ranks could use in place of the one that they share."""
    hosts = [from_plain(Kernels, plain, "kernels") for plain, *_ in told]
    have = {kernel for _, kernel, _ in told}
    return list(other_kernels(have.pop(), hosts)) if len(have) == 1 else []


def _agree_on_kernel(world: World, wanted: str) -> str:
    """Let all ranks compute with one kernel; its name, or nothing where they have none in common and stay with theirs.

    Raises ClusterError (or Stopped) where the environment names a kernel that a host cannot run.
    """
    told = world.gather([world.host, unusable_kernel(), to_plain(kernels_here())])
    chosen: str = world.share(lambda: _choice(told or [], wanted))
    if chosen:
        use_kernel(chosen)
    return chosen


def _choice(told: list[Any], wanted: str) -> str:
    for host, unusable, _ in told:
        if unusable:
            found = f"{unusable}, which the CPU of {host} cannot run"
            raise ClusterError(KERNEL_VARIABLE, found, "a kernel for this CPU", f"unset {KERNEL_VARIABLE}")
    return choose_kernel(wanted, [from_plain(Kernels, plain, "kernels") for *_, plain in told])


def _seat(name: str) -> Seat:
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    groups = {f"{controller}_group": limiting_group(controller) for controller in ("cpu", "memory")}
    return Seat(name=name, ip=ip_address(), boot_id=boot_id(), cores=cores, **groups)


def _seating(plain: list[Any]) -> tuple[list[str], list[Any]]:
    seats = [from_plain(Seat, seat, "seat") for seat in plain]
    return names_of(seats), to_plain(places_of(seats))


def _levelled(cluster: Cluster) -> Cluster:
    """Ranks of one host are alike: each gets the mean of their rates, the least of the memory that they saw;
    and those that share cores have their number."""
    groups: dict[str, list[Host]] = {}
    for host in cluster.hosts:
        groups.setdefault(host.name, []).append(host)
    return replace(cluster, hosts=tuple(_pooled(cluster, _level(host, groups[host.name])) for host in cluster.hosts))


def _pooled(cluster: Cluster, host: Host) -> Host:
    """The host with the cores of all ranks that share them; the pool is named only where these are not just the ranks
    of the host's name."""
    sharing = ranks_sharing(cluster, host)
    pool = "" if sharing == [other for other in cluster.hosts if other.name == host.name] else host.pool
    left = sum(other.left for other in sharing) / len(sharing)
    return replace(host, cores=sum(other.cores for other in sharing), left=left, pool=pool)


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
    return replace(cluster, hosts=tuple(replace(host, threads=threads) for host in cluster.hosts))
