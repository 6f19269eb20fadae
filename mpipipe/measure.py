"""How fast layers and links are: every rank times the layers of a job, and messages to other hosts.

Rank 0 alone knows what was timed before; it tells each rank what is missing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mpipipe.calibration import Subject, sizes
from mpipipe.job import Job
from mpipipe.layers import build_model, signature
from mpipipe.records import from_plain, to_plain
from mpipipe.resources import Host, LayerTimes, Link, Pretence, is_crowded, memory, scaled, times_of
from mpipipe.runtime.links import Line, measure_link, tournament
from mpipipe.runtime.slow_links import over_links
from mpipipe.runtime.timing import Timing, time_layers
from mpipipe.runtime.world import World

Times = tuple[LayerTimes, ...]
"""What one rank timed."""
Wanted = tuple[tuple[tuple[str, ...], ...], ...]
"""The layers to time, by rank and size of micro-batch."""
CHANGED = 1.1
"""A host that takes so many times as long as before for a layer, or as little, is not as it was."""


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
    wanted: Wanted


def measure(world: World, subject: Subject | None, pretence: Pretence | None = None) -> Subject | None:
    """Every rank calls this; rank 0 with the subject, which comes back with all links, and with the times of layers
    that it had no times of. Pretended hosts are as slow, and as slow to reach, as is pretended."""
    slower = 1 / pretence.speed(world.rank, 1) if pretence else 1.0

    def time_all(errand: Errand | None) -> list[Times]:
        told = from_plain(Errand, world.share(lambda: to_plain(errand) if errand else None), "errand")
        world.meet()
        answers = world.gather([to_plain(scaled(one, slower)) for one in _time(told, world.rank)]) or []
        return [tuple(from_plain(LayerTimes, one, "times") for one in times) for times in answers]

    subject = time_in_rounds(subject, time_all)
    hosts = world.share(lambda: [host.name for host in subject.cluster.hosts] if subject else None)
    answers = world.gather([to_plain(link) for link in _measure_links(world, hosts, pretence)])
    if subject is None or answers is None:
        return None
    every = tuple(from_plain(Link, one, "link") for links in answers for one in links)
    return replace(subject, cluster=replace(subject.cluster, links=every))


def measure_alone(subject: Subject) -> Subject:
    """The same where there is one rank, and no MPI."""
    found = time_in_rounds(subject, lambda errand: [_time(errand, 0)] if errand else [])
    assert found is not None
    return found


def time_in_rounds(subject: Subject | None, time_all: Callable[[Errand | None], list[Times]]) -> Subject | None:
    """The subject with the times of all layers; None on ranks other than 0, which take part in the same rounds.

    `time_all` returns what each rank timed. First it is asked for one layer of those with known times: where a host
    takes longer for it, or less, than it did, its times are dropped. Then it is asked for all layers without times.
    """
    for choose, take_in in ((_costliest, _without_old_times), (_missing, _with_times)):
        times = time_all(_errand(subject, choose(subject)) if subject else None)
        if subject is not None:
            subject = take_in(subject, times)
    return subject


def _errand(subject: Subject, wanted: Wanted) -> Errand:
    hosts, every = subject.cluster.hosts, sizes(subject.job)
    return Errand(
        subject.job,
        subject.model.shapes[0],
        every,
        tuple(subject.at(size).swept_bytes for size in every),
        tuple(host.name for host in hosts),
        tuple(host.threads for host in hosts),
        tuple(is_crowded(subject.cluster, host) for host in hosts),
        wanted,
    )


def _missing(subject: Subject) -> Wanted:
    """By rank and size of micro-batch, the layers without times."""
    kinds = Counter(_signatures(subject))
    return tuple(
        tuple(
            tuple(kind for kind in kinds if times_of(host, kind, size) is None) for size in sizes(subject.job)
        )
        for host in subject.cluster.hosts
    )  # fmt: skip


def _costliest(subject: Subject) -> Wanted:
    """By rank and size, of the layers with times, that which takes the most time of all; for one size only."""
    kinds = Counter(_signatures(subject))
    every = sizes(subject.job)

    def of(host: Host) -> tuple[tuple[str, ...], ...]:
        for i, size in enumerate(every):
            known = {kind: times for kind in kinds if (times := times_of(host, kind, size)) is not None}
            if known:
                most = max(known, key=lambda kind: kinds[kind] * _all_seconds(known[kind]))
                return tuple((most,) if i == j else () for j in range(len(every)))
        return ((),) * len(every)

    return tuple(map(of, subject.cluster.hosts))


def _without_old_times(subject: Subject, again: Sequence[Times]) -> Subject:
    """Hosts that take other times than are known of them have none."""
    now = _by_host(subject, again)

    def is_as_before(host: Host, one: LayerTimes) -> bool:
        known = times_of(host, one.layer, one.micro_batch)
        return known is not None and 1 / CHANGED < _all_seconds(one) / max(_all_seconds(known), 1e-9) < CHANGED

    hosts = tuple(
        host if all(is_as_before(host, one) for one in now[host.name]) else replace(host, layers=())
        for host in subject.cluster.hosts
    )
    return replace(subject, cluster=replace(subject.cluster, hosts=hosts))


def _signatures(subject: Subject) -> list[str]:
    return [signature(subject.model, i) for i in range(len(subject.model.layers))]


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


def _with_times(subject: Subject, by_rank: Sequence[Times]) -> Subject:
    """With these besides the times that were known."""
    found = _by_host(subject, by_rank)
    hosts = tuple(replace(host, layers=(*host.layers, *found[host.name])) for host in subject.cluster.hosts)
    return replace(subject, cluster=replace(subject.cluster, hosts=hosts))


def _by_host(subject: Subject, by_rank: Sequence[Times]) -> dict[str, Times]:
    """Ranks of one host are alike: each gets the mean of what they found."""
    groups: dict[str, list[LayerTimes]] = {}
    for host, times in zip(subject.cluster.hosts, by_rank, strict=True):
        groups.setdefault(host.name, []).extend(times)
    return {name: _means(times) for name, times in groups.items()}


def _means(times: Sequence[LayerTimes]) -> tuple[LayerTimes, ...]:
    kinds = dict.fromkeys((one.layer, one.micro_batch) for one in times)
    return tuple(_mean([one for one in times if (one.layer, one.micro_batch) == kind]) for kind in kinds)


def _all_seconds(times: LayerTimes) -> float:
    """Of F, I and W."""
    return times.forward_s + times.input_s + times.weight_s


def _mean(times: Sequence[LayerTimes]) -> LayerTimes:
    return replace(
        times[0],
        forward_s=fmean(one.forward_s for one in times),
        input_s=fmean(one.input_s for one in times),
        weight_s=fmean(one.weight_s for one in times),
        update_s=fmean(one.update_s for one in times),
    )
