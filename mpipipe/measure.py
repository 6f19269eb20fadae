"""How fast layers and links are: every rank times the layers of a job, and messages to other hosts.

Rank 0 alone knows what was timed before; it tells each rank what is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mpipipe.calibration import Subject, sizes
from mpipipe.job import Job
from mpipipe.layers import build_model, signature
from mpipipe.records import from_plain, to_plain
from mpipipe.resources import LayerTimes, Link, Pretence, is_crowded, memory, scaled, times_of
from mpipipe.runtime.links import Line, measure_link, tournament
from mpipipe.runtime.slow_links import over_links
from mpipipe.runtime.timing import Timing, time_layers
from mpipipe.runtime.world import World


@dataclass(frozen=True)
class Errand:
    """What rank 0 tells every rank: a job and its input, sizes of micro-batches and what is swept for each, and by rank
    the host, its threads, whether they outnumber the host's cores and, by size, the layers to time."""

    job: Job
    input_shape: tuple[int, ...]
    sizes: tuple[int, ...]
    swept_bytes: tuple[int, ...]
    hosts: tuple[str, ...]
    threads: tuple[int, ...]
    crowded: tuple[bool, ...]
    wanted: tuple[tuple[tuple[str, ...], ...], ...]


def measure(world: World, subject: Subject | None, pretence: Pretence | None = None) -> Subject | None:
    """Every rank calls this; rank 0 with the subject, which comes back with all links, and with the times of layers
    that it had no times of. Pretended hosts are as slow, and as slow to reach, as is pretended."""
    told = world.share(lambda: to_plain(_errand(subject)) if subject else None)
    errand = from_plain(Errand, told, "errand")
    world.meet()
    slower = 1 / pretence.speed(world.rank, 1) if pretence else 1.0
    times = [scaled(one, slower) for one in _time(errand, world.rank)]
    links = _measure_links(world, errand.hosts, pretence)
    answers = world.gather([to_plain(times), to_plain(links)])
    if subject is None or answers is None:
        return None
    by_rank = [tuple(from_plain(LayerTimes, one, "times") for one in times) for times, _ in answers]
    every = tuple(from_plain(Link, one, "link") for _, links in answers for one in links)
    return _with_times(replace(subject, cluster=replace(subject.cluster, links=every)), by_rank)


def measure_alone(subject: Subject) -> Subject:
    """The same where there is one rank, and no MPI."""
    return _with_times(subject, [_time(_errand(subject), 0)])


def _errand(subject: Subject) -> Errand:
    job, model, hosts = subject.job, subject.model, subject.cluster.hosts
    kinds = dict.fromkeys(signature(model, i) for i in range(len(model.layers)))
    every = sizes(job)
    return Errand(
        job,
        model.shapes[0],
        every,
        tuple(subject.at(size).swept_bytes for size in every),
        tuple(host.name for host in hosts),
        tuple(host.threads for host in hosts),
        tuple(is_crowded(subject.cluster, host) for host in hosts),
        tuple(
            tuple(tuple(kind for kind in kinds if times_of(host, kind, size) is None) for size in every)
            for host in hosts
        ),
    )


def _time(errand: Errand, rank: int) -> tuple[LayerTimes, ...]:
    room_bytes = memory()[1] // errand.hosts.count(errand.hosts[rank])
    model = build_model(errand.job.model, errand.input_shape)
    found: list[LayerTimes] = []
    for size, swept, wanted in zip(errand.sizes, errand.swept_bytes, errand.wanted[rank], strict=True):
        if wanted:
            train = replace(errand.job.train, micro_batch=size)
            found += time_layers(
                model, wanted, Timing(train, errand.threads[rank], room_bytes, swept, errand.crowded[rank])
            )
    return tuple(found)


def _measure_links(world: World, hosts: Sequence[str], pretence: Pretence | None) -> list[Link]:
    """Those that this rank leads."""
    rounds, found = tournament(hosts), []
    transport = over_links(world.transport(), world.rank, pretence) if rounds else None
    for pairs in rounds:
        world.meet()  # or a pair that is through would disturb one of this round
        for pair in pairs:
            if transport is not None and world.rank in pair:
                leads = world.rank == pair[0]
                line = Line(transport, pair[1] if leads else pair[0], leads)
                link = measure_link(line, hosts[pair[0]], hosts[pair[1]])
                found += [link] if leads else []
    return found


def _with_times(subject: Subject, by_rank: Sequence[tuple[LayerTimes, ...]]) -> Subject:
    """Ranks of one host are alike: each gets the mean of what they found, besides the times that were known."""
    groups: dict[str, list[LayerTimes]] = {}
    for host, times in zip(subject.cluster.hosts, by_rank, strict=True):
        groups.setdefault(host.name, []).extend(times)
    means = {name: _means(times) for name, times in groups.items()}
    hosts = tuple(replace(host, layers=(*host.layers, *means[host.name])) for host in subject.cluster.hosts)
    return replace(subject, cluster=replace(subject.cluster, hosts=hosts))


def _means(times: Sequence[LayerTimes]) -> tuple[LayerTimes, ...]:
    kinds = dict.fromkeys((one.layer, one.micro_batch) for one in times)
    return tuple(_mean([one for one in times if (one.layer, one.micro_batch) == kind]) for kind in kinds)


def _mean(times: Sequence[LayerTimes]) -> LayerTimes:
    return replace(
        times[0],
        forward_s=fmean(one.forward_s for one in times),
        input_s=fmean(one.input_s for one in times),
        weight_s=fmean(one.weight_s for one in times),
        update_s=fmean(one.update_s for one in times),
    )
