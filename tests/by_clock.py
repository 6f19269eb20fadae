"""A table of what the real clock says, next to what is meant; see by_clock.sh."""

import csv
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from bench.overhead import actions_us
from mpi.ranks import run as mpirun
from mpi.test_pretend_cluster import EQUAL, trained, write_files
from plan.cases import cluster, job, layers, random_cluster, random_host
from runtime.test_simulated_times import measured, unlike_stages
from threadpoolctl import threadpool_limits

from mpipipe.clock import REAL_CLOCK
from mpipipe.plan import make_plan
from mpipipe.plan.simulated import simulate_plan
from mpipipe.report import plural
from mpipipe.report.summary import MEASURABLE_BYTES
from mpipipe.resources.calibrate import measure_rates
from mpipipe.schedule import SCHEDULES, Pipeline, StageCost, check

KEPT = Path("results/by-clock.txt")
WARM_UP = 3
"""Steps in which much is touched for the first time."""
TABLE_JOB = """
[model]
layers = [
    { kind = "linear", outputs = 16 }, { kind = "relu" }, { kind = "linear", outputs = 16 }, { kind = "relu" },
    { kind = "linear", outputs = 16 }, { kind = "relu" }, { kind = "linear", outputs = 16 }, { kind = "relu" },
    { kind = "linear", outputs = 3 },
]
[train]
epochs = 1
batch = 64
micro_batch = 16
"""


@dataclass(frozen=True)
class Row:
    """One thing: `meant` is its target, `found` what the clock says; `near` where both ways are off, else at most."""

    what: str
    meant: float
    found: float
    unit: str
    near: bool = False

    def __str__(self) -> str:
        off = self.found / self.meant - 1
        said = f"{off:+.0%}" if self.near else "within" if off <= 0 else f"{off:+.0%} over"
        meant = f"{'' if self.near else 'at most '}{self.meant:.4g}"
        return f"{self.what:62}  {meant:>15}  {self.found:>10.4g}  {self.unit:8}  {said}"


def steps() -> Iterator[Row]:
    """A step of sleeping layers over slow links, next to the simulated one: the shortest of three."""
    for name in SCHEDULES:
        for ranks in (2, 5, 9):
            case = unlike_stages(name, ranks, micros=ranks + 3)
            found = min(measured(case, clock=REAL_CLOCK) for _ in range(3))
            yield Row(
                f"step, {name}, {ranks} ranks", 1e3 * simulate_plan(case.plan).end_s, 1e3 * found, "ms", near=True
            )


def overhead() -> Iterator[Row]:
    """What the runtime itself costs."""
    with tempfile.TemporaryDirectory() as folder:
        for name, found in actions_us(Path(folder)):
            yield Row(f"an action, {name}", 50, found, "us")


def planning() -> Iterator[Row]:
    """Making plans and schedules."""
    costs, hosts = layers(random.Random(1), 100), random_cluster(1, 9, twins=0)
    for ranks in ("all", "auto"):
        yield Row(
            f"planning, 9 hosts, 100 layers, {ranks}",
            5,
            seconds(partial(make_plan, costs, hosts, job(36, ranks=ranks))),
            "s",
        )
    rng = random.Random(5)
    four = [random_host(rng, 0) for _ in range(4)]
    many = cluster(*(replace(four[rank % 4], rank=rank, name=f"mini{rank}") for rank in range(64)))
    asked = partial(make_plan, layers(random.Random(1), 400), many, job(128, ranks="all"))
    yield Row("planning, 64 hosts of 4 kinds, 400 layers", 60, seconds(asked), "s")
    places = tuple((rank,) for rank in range(9))
    pipeline = Pipeline(72, places, (18,) * 9, (StageCost(1.0, 1.3, 0.7),) * 9, (0.3,) * 8, (2,) * 9)
    yield Row(
        "making a list schedule, 9 ranks, 72 micro-batches",
        50,
        1e3 * seconds(partial(SCHEDULES["list"].make, pipeline)),
        "ms",
    )
    yield Row("checking it", 200, 1e3 * seconds(partial(check, SCHEDULES["list"].make(pipeline))), "ms")


def rates() -> Iterator[Row]:
    """Measuring a host."""
    with threadpool_limits(1):
        yield Row("measuring rates", 1, seconds(partial(measure_rates, 0.02)), "s")


def nine_hosts() -> Iterator[Row]:
    """Nine pretended hosts of this machine, over MPI."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        _, plan, step_s = trained(Path(folder), "planned")
        yield Row("step, nine pretended hosts", 1e3 * plan["step_s"], 1e3 * step_s, "ms", near=True)
        _, _, equal_s = trained(Path(folder), "equal", EQUAL, "train.steps=3", "plan.schedule=1f1b")
        yield Row("its part of that with equal numbers of layers", 1 / 1.4, step_s / equal_s, "")


def predictions() -> Iterator[Row]:
    """Step time and peak memory of real runs on this machine, next to what each printed before it began."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = random.Random(1).choices(["one", "shelf", "of", "old", "machines", "trains", "a", "network"], k=60_000)
        (folder / "book.txt").write_text(" ".join(words))
        rng = random.Random(2)
        rows = [",".join(f"{rng.gauss(0, 1):.4f}" for _ in range(5)) + f",{i % 3}" for i in range(2000)]
        (folder / "table.csv").write_text("\n".join(["a,b,c,d,e,target", *rows, ""]))
        (folder / "table.toml").write_text(TABLE_JOB)
        jobs = {
            "digits": ("digits", "train.steps=24"),
            "table": (str(folder / "table.toml"), "train.steps=120", "--data", str(folder / "table.csv")),
            "gpt-nano": ("gpt-nano", "train.steps=8", "--data", str(folder / "book.txt")),
            "fashion": ("fashion", "train.steps=40"),
            "lenet": ("lenet", "train.steps=12"),
        }
        for job_name, (job, steps, *more) in jobs.items():
            for ranks in (1, 2, 4, 9):
                run = folder / f"{job_name}-{ranks}"
                yield from predicted(f"{job_name}, {plural(ranks, 'rank')}", run, ranks, job, *more, "--set", steps)


def predicted(what: str, folder: Path, ranks: int, *arguments: str) -> Iterator[Row]:
    """One run: its step, without the first few, and the memory of its ranks, each where that is worth measuring."""
    none = ("train.epochs=0", "data.validation=0.01")
    ended = mpirun(ranks, "train", *arguments, "--out", str(folder), *(word for one in none for word in ("--set", one)))
    if ended.status:
        raise RuntimeError(f"{what}: {ended.err}")
    plan, summary = (json.loads((folder / name).read_text()) for name in ("plan.json", "summary.json"))
    full = list(csv.DictReader((folder / "metrics.csv").open()))[WARM_UP:]
    step_s = [float(row["seconds"]) for row in full]
    usual = [one for one, row in zip(step_s, full, strict=True) if is_full(row, plan["batch"])]
    moved = "new plan" in ended.out + ended.err
    yield Row(f"step, {what}{', planned anew' * moved}", 1e3 * plan["step_s"], 1e3 * fmean(usual), "ms", near=True)
    for one in summary["memory"]:
        if one["planned_bytes"] > MEASURABLE_BYTES:
            sizes = (one[key] / 2**20 for key in ("planned_bytes", "peak_bytes"))
            yield Row(f"memory, {what}, of rank {one['rank']}", *sizes, "MiB", near=True)


def is_full(row: dict[str, str], batch: int) -> bool:
    """Whether a row of metrics.csv is of a full batch."""
    return round(float(row["samples_per_s"]) * float(row["seconds"])) == batch


def seconds(action: partial) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


GROUPS = (steps, overhead, planning, rates, nine_hosts, predictions)


def main(groups: Iterable) -> None:
    """Print the table line by line, and keep it."""
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    head = f"{platform.node()}: {os.cpu_count()} CPUs, {platform.platform()}; load {load}; {time.strftime('%F %T')}"
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("w") as file:
        for line in (head, "", *rows(groups)):
            print(line, flush=True)
            print(line, file=file, flush=True)


def rows(groups: Iterable) -> Iterator[str]:
    """A group that cannot be measured here is a line that says why."""
    for group in groups:
        try:
            yield from map(str, group())
        except Exception as error:
            yield f"{group.__name__}: not measured: {type(error).__name__}: {error}"


if __name__ == "__main__":
    named = {group.__name__: group for group in GROUPS}
    main([named[name] for name in sys.argv[1:]] or GROUPS)
