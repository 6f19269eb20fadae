"""What layers took on the hosts of earlier runs: one small file with rank 0, so that each is timed only once.

A file that cannot be used is as none, and costs a notice; times are taken anew then.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.errors import UserError
from mpipipe.job import Job
from mpipipe.layers import Model, layer_costs
from mpipipe.records import load_json
from mpipipe.report import RESULTS, warn, write_json
from mpipipe.resources import Cluster, Host, LayerTimes, check_times
from mpipipe.runtime.timing import swept_bytes

PATH = Path(RESULTS, "calibration.json")
"""Under the current folder; written only where the folder of results is there already."""
OTHER_RATES = 1.5
"""A host whose rates differ by so much is not as it was: a clock that is lowered, another machine under the name. The
rates of one host differ by 1.1 while it is quiet, by 1.3 while others use it."""


@dataclass(frozen=True)
class Subject:
    """What is measured: the layers of a job's model, on the hosts of a cluster. Rank 0 loads a sample in `sample_s`."""

    cluster: Cluster
    job: Job
    model: Model
    sample_s: float = 0.0

    def at(self, micro_batch: int) -> "Subject":
        """With micro-batches of that size."""
        train = replace(self.job.train, micro_batch=micro_batch)
        return replace(self, job=replace(self.job, train=train))

    @property
    def swept_bytes(self) -> int:
        """Bytes that are read between two turns of a layer."""
        return swept_bytes(
            layer_costs(self.model, self.job.train), len({host.core_pool for host in self.cluster.hosts})
        )


def sizes(job: Job) -> tuple[int, ...]:
    """Sizes of micro-batches to choose from: the job's own or, where it leaves that open, the powers of two that make
    4 to 64 of them of a batch (one, and the whole batch, where there are none)."""
    if job.train.micro_batch:
        return (job.train.micro_batch,)
    batch = job.train.batch
    found = [1 << n for n in range(batch.bit_length()) if 4 <= -(-batch // (1 << n)) <= 64]
    return tuple(found) or (1, batch)[: min(2, batch)]


@dataclass(frozen=True)
class Setting:
    """What times of layers depend on besides the layer and its micro-batch. `host` is a name with its address, since
    several hosts may have one name; `threads` are those of every rank of the host, `cores` what they have together;
    `tile_rows` and `optimizer` are the job's; `swept_bytes` were read between two turns of a layer."""

    host: str
    cpu: str
    kernel: str
    versions: str
    threads: tuple[int, ...]
    cores: float
    tile_rows: int
    optimizer: str
    swept_bytes: int


@dataclass(frozen=True)
class Record:
    """Times taken in one setting, while the host had these rates; they are of no use once it has others."""

    setting: Setting
    matrix_flops: float
    elements: float
    layers: tuple[LayerTimes, ...]

    def is_as_fast_as(self, host: Host) -> bool:
        """Whether the host's rates are those of then, or nearly."""
        pairs = ((self.matrix_flops, host.matrix_flops), (self.elements, host.elements))
        return all(1 / OTHER_RATES < then / now < OTHER_RATES for then, now in pairs)


@dataclass(frozen=True)
class Calibration:
    """The whole file."""

    records: tuple[Record, ...] = ()


def recall(subject: Subject, quiet: bool, path: Path = PATH) -> Subject:
    """With all times that were taken before in the same settings, for every size of micro-batch to choose from."""
    calibration = Calibration()
    try:
        calibration = _load(path)
    except UserError as error:
        warn(f"times of layers are taken again: {error}", quiet)
    known = {record.setting: record for record in calibration.records}
    every = [_settings(subject.at(size)) for size in sizes(subject.job)]

    def layers_of(host: Host) -> Iterator[LayerTimes]:
        for settings in every:
            record = known.get(settings[host.name])
            if record is not None and record.is_as_fast_as(host):
                yield from record.layers

    hosts = tuple(replace(host, layers=_merged(layers_of(host))) for host in subject.cluster.hosts)
    return replace(subject, cluster=replace(subject.cluster, hosts=hosts))


def remember(subject: Subject, quiet: bool, path: Path = PATH) -> None:
    """Write down the times of a cluster beside those that are in the file, or in its place if it is of no use."""
    if not path.parent.is_dir():
        return
    before = Calibration()
    with suppress(UserError):
        before = _load(path)
    records = {record.setting: record for record in before.records}
    for size in sizes(subject.job):
        settings = _settings(subject.at(size))
        for host in subject.cluster.hosts:
            times = [one for one in host.layers if one.micro_batch == size]
            if times:
                setting = settings[host.name]
                old = records.get(setting)
                kept = old.layers if old and old.is_as_fast_as(host) else ()
                rates = (old.matrix_flops, old.elements) if kept and old else (host.matrix_flops, host.elements)
                records[setting] = Record(setting, *rates, _merged((*kept, *times)))
    after = Calibration(tuple(records.values()))
    try:
        if after != before:
            write_json(path, after)
    except UserError as error:
        warn(f"times of layers are not kept, and will be taken again: {error}", quiet)


def _load(path: Path) -> Calibration:
    """The file, or none of it where there is no file. Raises UserError."""
    try:
        calibration = load_json(Calibration, path)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Calibration()
        raise
    for record in calibration.records:
        for times in record.layers:
            check_times(times, str(path))
    return calibration


def _settings(subject: Subject) -> dict[str, Setting]:
    """By the name of each host."""
    threads: dict[str, tuple[int, ...]] = {}
    for host in subject.cluster.hosts:
        threads[host.name] = (*threads.get(host.name, ()), host.threads)
    train = subject.job.train
    return {
        host.name: Setting(
            f"{host.name} {host.ip}",
            host.cpu,
            host.kernel,
            _versions(host),
            threads[host.name],
            round(host.cores, 2),
            train.tile_rows,
            train.optimizer,
            subject.swept_bytes,
        )
        for host in subject.cluster.hosts
    }


def _versions(host: Host) -> str:
    return ", ".join((f"mpipipe {host.mpipipe}", f"Python {host.python}", f"numpy {host.numpy}", host.blas))


def _merged(layers: Iterable[LayerTimes]) -> tuple[LayerTimes, ...]:
    """Of times of one layer and micro-batch, the last."""
    return tuple({(times.layer, times.micro_batch): times for times in layers}.values())
