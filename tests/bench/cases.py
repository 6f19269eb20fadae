"""Small models, and contestants that are not what they should be."""

import sys
import time

from mpipipe.bench.contest import Contestant, Entry, stop_all
from mpipipe.bench.models import mlp
from mpipipe.bench.progress import Progress
from mpipipe.bench.used import Used

TINY = mlp("tiny", inputs=10, width=16, depth=3, batch=32, micro_batch=8)
HONEST = """
import sys
print('ready {"cuts": [], "used": {"ranks": 1, "threads": 1}}', flush=True)
for line in sys.stdin:
    if line.startswith("end"):
        break
    print(float(line.split()[1]) / 100, LOSS, flush=True)
"""


def entry(code, name="fake", side="mpipipe", stages=1):
    return Entry(name, side, stages, (sys.executable, "-c", code))


def honest(loss=1.0, **more):
    return entry(HONEST.replace("LOSS", str(loss)), **more)


class Started:
    """Contestants for the length of a with block, ready."""

    def __init__(self, *entries):
        self.entries = entries

    def __enter__(self):
        self.contestants = [Contestant(one) for one in self.entries]
        return self.contestants

    def __exit__(self, *error):
        began = time.monotonic()
        stop_all(self.contestants)
        assert time.monotonic() - began < 60


def timed(entry, *round_s, used=Used(ranks=1, threads=2, products="blas 1 (Haswell)")):  # noqa: B008
    """A contestant that never ran, with these times."""
    one = object.__new__(Contestant)
    one.entry, one.steps, one.round_s, one.losses, one.used = entry, 7, list(round_s), [1.0], used
    return one


def silent():
    """The progress of a contest that tells nobody."""
    return Progress(7, 1, 7, quiet=True)


__all__ = ["TINY", "Started", "entry", "honest", "silent", "timed"]
