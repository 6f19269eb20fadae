"""mpipipe with a mishap planted on one rank (-1: on all): `python driver.py MISHAP RANK ARGUMENTS OF mpipipe`.

Instead of one command there may be several, one after the other in the same ranks: `several JSON`, lists of arguments.
Left out is what takes seconds and tells nothing here: most of the measuring of the host, and the picture.
"""

import json
import os
import random
import resource
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import mpipipe
from mpipipe import closing, enlist, launcher, planning, survey, train
from mpipipe.cli import main
from mpipipe.report import write_text
from mpipipe.resources import measure_rates
from mpipipe.runtime import conduct, generating, member, stage
from mpipipe.runtime.stage import Stage
from mpipipe.schedule import SCHEDULES

sys.path.insert(0, str(Path(__file__).parents[1]))
from runtime.shuffled import SHUFFLED  # noqa: E402

from mpi.ranks import ENDED  # noqa: E402


class PlantedError(Exception):
    """What a planted mishap raises."""


def nothing():
    """No mishap."""


def plant(**methods):
    """Give stages these methods: those that train, not those that only time layers."""
    enlist.Stage = type("Planted", (Stage,), methods)


def slow():
    """Every task takes a random while longer."""
    draw = random.Random(7)
    plant(**{name: sleepy(getattr(Stage, name), draw) for name in ("forward", "grad_input", "grad_weight")})


def sleepy(function, draw):
    def slower(*arguments):
        time.sleep(draw.uniform(0, 0.004))
        return function(*arguments)

    return slower


def worker():
    """The third backward raises, in a worker thread."""
    count = iter(range(1000))

    def grad_input(self, micro, scratch):
        if next(count) == 2:
            raise PlantedError("in a worker thread")
        return Stage.grad_input(self, micro, scratch)

    plant(grad_input=grad_input)


def main_thread():
    """The second order raises, in the main thread."""
    count = iter(range(1000))

    def begin(self, now):
        if next(count) == 1:
            raise PlantedError("in the main thread")
        return Stage.begin(self, now)

    plant(begin=begin)


def memory():
    """The rank may not allocate what its stage needs."""

    def make(share):
        soft = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), soft[1]))
        ballast = []  # takes what was freed before, too
        try:
            with suppress(MemoryError):
                while True:
                    ballast.append(bytearray(1 << 20))
            return Stage(share)
        finally:
            ballast.clear()
            resource.setrlimit(resource.RLIMIT_AS, soft)

    enlist.Stage = make


def version():
    """The rank runs another mpipipe."""
    mpipipe.__version__ = "0.0.9"


def die():
    """The rank is killed in its third step."""
    count = iter(range(1000))

    def begin(self, now):
        if next(count) == 2:
            os.kill(os.getpid(), 9)
        return Stage.begin(self, now)

    plant(begin=begin)


def silent():
    """The rank falls silent in its second step."""
    count = iter(range(1000))

    def begin(self, now):
        if next(count) == 1:
            time.sleep(3600)
        return Stage.begin(self, now)

    plant(begin=begin)


def place():
    """The eighth place of a text raises, in a worker thread."""

    def extend(layer, p, x, y, cache, start, scratch):
        if start == 7:
            raise PlantedError("at a place")
        whole(layer, p, x, y, cache, start, scratch)

    whole, generating.extend = generating.extend, extend


def placed():
    """Eight stages lie back and forth over the ranks, every other one recomputes, turns are drawn."""

    def lie(costs, cluster, job, reserved=None, load_s=0.0):
        plan = whole(costs, cluster, job, reserved, load_s)
        ranks = len(cluster.hosts)
        way = [*range(ranks), *reversed(range(ranks))]
        stages = tuple(
            replace(
                plan.stages[0],
                rank=way[stage % len(way)],
                first=stage,
                last=stage + 1,
                in_flight=1 + stage % 4,
                gradients_in_flight=1 + stage % 2,
                recompute=stage % 2 == 1,
            )
            for stage in range(8)
        )
        return replace(plan, schedule="shuffled", stages=stages, idle=())

    whole, planning.make_plan = planning.make_plan, lie
    SCHEDULES.update(SHUFFLED)


MISHAPS = {
    kind.__name__: kind for kind in (nothing, slow, worker, main_thread, memory, version, die, silent, place, placed)
}


def lighten():
    """Leave out what takes long."""
    survey.measure_rates = partial(measure_rates, 0.02)
    closing.draw_loss = lambda rows, path: write_text(path, "no picture")


def several(commands):
    """Until one fails; rank 0 marks the end of each on both streams."""
    for arguments in commands:
        status = main(arguments)
        if status:
            return status
        if launcher.launched_rank() == 0:
            print(ENDED, end="", flush=True)
            print(ENDED, end="", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    mishap, rank, *arguments = sys.argv[1:]
    assert train and conduct and member and stage
    lighten()
    if int(rank) in (-1, launcher.launched_rank()):
        MISHAPS[mishap]()
    sys.exit(several(json.loads(arguments[1])) if arguments[0] == "several" else main(arguments))
