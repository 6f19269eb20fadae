"""The contestant mpipipe: survey, plan, enlist and train as `train` does, but by order and without a disk.

    python -m mpipipe.bench.runner FOLDER THREADS MICROS

Alone or under mpirun, each rank with so many worker threads, the batch in so many micro-batches; rank 0 takes the
orders. The environment, with the BLAS kernel in it, is the caller's.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpipipe.bench.isa import numpy_isa
from mpipipe.bench.kit import Kit, read_kit
from mpipipe.bench.lines import obey
from mpipipe.bench.used import Used, with_kernel
from mpipipe.enlist import Brief, enlist
from mpipipe.guard import run_ranks
from mpipipe.layers import Array, build_model, layer_costs
from mpipipe.plan import Plan, make_plan
from mpipipe.records import from_plain, to_plain
from mpipipe.resources import Cluster, Host, current_kernel
from mpipipe.resources.facts import blas_and_kernel
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.serve import serve
from mpipipe.runtime.weights import hand_out
from mpipipe.runtime.world import World
from mpipipe.survey import Wishes, survey


class Lead:
    """Rank 0 with what it alone reads and knows. On other ranks nothing of it is ever called."""

    def __init__(self, folder: Path, micros: int) -> None:
        self.folder, self.micros = folder, micros
        self.kit: Kit | None = None
        self.host: Host | None = None
        self.plan: Plan | None = None
        self.cuts: list[int] = []

    def make_brief(self, cluster: Cluster | None) -> object:
        """Read the kit, and plan.

        `cuts` are those of 1F1B with one stage a rank, which other programs can use whatever the plan is.
        """
        assert cluster is not None
        self.kit = read_kit(self.folder)
        job, shape = self.kit.job, self.kit.x.shape[1:]
        train = replace(job.train, micro_batch=-(-job.train.batch // self.micros))
        job = replace(job, train=train)
        costs = layer_costs(build_model(job.model, shape), job.train)
        plan = make_plan(costs, cluster, job)
        plain = make_plan(costs, cluster, replace(job, plan=replace(job.plan, schedule="1f1b")))
        self.host, self.plan = cluster.hosts[0], plan
        self.cuts = [stage.first for stage in plain.stages[1:]]
        return to_plain(Brief(job, shape, plan))

    def take_orders(self, conductor: Conductor) -> None:
        """Train as often as told, always on the same batch."""
        assert self.kit is not None and self.host is not None and self.plan is not None
        used = to_plain(_used(self.host, self.plan))
        kit, taken = self.kit, 0
        rows, rate = np.arange(len(kit.x)), kit.job.train.learning_rate

        def feed(rows: Array, x: Array, t: Array | None) -> None:
            np.take(kit.x, rows, axis=0, out=x, mode="clip")
            if t is not None:
                np.take(kit.t, rows, axis=0, out=t, mode="clip")

        def go(steps: int) -> tuple[float, float]:
            nonlocal taken
            loss, began = 0.0, time.perf_counter()
            for step in range(taken, taken + steps):
                loss = conductor.train(rows, feed, step, rate).loss
            taken += steps
            return time.perf_counter() - began, loss

        obey({"used": used, "kernel": current_kernel(), "cuts": self.cuts}, go)


def compete(world: World, folder: Path, threads: int, micros: int) -> int:
    """The whole contestant, on every rank; the exit status."""
    lead = Lead(folder, micros)
    cluster = survey(world, to_plain(Wishes(threads)))
    brief = from_plain(Brief, world.share(lambda: lead.make_brief(cluster)), "brief")
    member = enlist(world, brief)
    hand_out(member, None)
    if world.rank:
        return serve(member)
    conductor = Conductor(member)
    lead.take_orders(conductor)
    conductor.stop(0)
    return 0


def _used(host: Host, plan: Plan) -> Used:
    """What this rank and its plan say, once the kernel is chosen."""
    blas, instructions = blas_and_kernel()
    kernel = instructions.partition("/")[0]
    name, _, version = host.mpi.rpartition(" ")
    versions = {"mpipipe": host.mpipipe, "Python": host.python, "numpy": host.numpy, "BLAS": blas, name: version}
    return Used(
        ranks=len({stage.rank for stage in plan.stages}),
        threads=max(stage.threads for stage in plan.stages),
        products=with_kernel(blas, kernel),
        elementwise=with_kernel(f"numpy {host.numpy}", numpy_isa()),
        versions=versions,
    )


if __name__ == "__main__":
    place, count, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.exit(run_ranks(lambda world, signals: compete(world, place, count, parts)))
