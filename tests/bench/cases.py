"""Small models, and contestants that are not what they should be."""

import sys
import time

from mpipipe.bench.contest import Contestant, Entry, stop_all
from mpipipe.bench.models import mlp

TINY = mlp("tiny", inputs=10, width=16, depth=3, batch=32, micro_batch=8)
HONEST = """
import sys
print('ready {"cuts": []}', flush=True)
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


def timed(entry, *round_s):
    """A contestant that never ran, with these times."""
    one = object.__new__(Contestant)
    one.entry, one.steps, one.round_s, one.losses = entry, 7, list(round_s), [1.0]
    return one


__all__ = ["TINY", "Started", "entry", "honest", "timed"]
