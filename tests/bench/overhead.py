"""What the runtime itself costs: queue, schedule and messages, with layers that do next to nothing."""

from collections.abc import Iterator
from pathlib import Path

from mpipipe.bench.contest import Contestant, stop_all
from mpipipe.bench.contestants import find_mpirun, mpipipe_entries
from mpipipe.bench.kit import write_kit
from mpipipe.bench.models import mlp

NOTHING = mlp("nothing", inputs=1, width=1, depth=2, batch=128, micro_batch=1)
ALONE = ("LOAD", "SEND_DATA", "SEND_TARGET", "RECV_ACT", "RECV_TARGET", "F", "I", "W")
AS_FIRST = ("LOAD", "SEND_DATA", "SEND_TARGET", "RECV_ACT", "F", "SEND_ACT", "RECV_GRAD", "I", "W")
"""Actions of rank 0 on each micro-batch, alone and as the first of two stages."""
ROUNDS, STEPS = 5, 20


def actions_us(folder: Path) -> Iterator[tuple[str, float]]:
    """Microseconds an action, with two worker threads in one process and with two ranks; the best of a few rounds."""
    write_kit(folder, NOTHING)
    alone, launched, _ = mpipipe_entries(folder, 2, NOTHING.micros, find_mpirun())
    for entry, actions in ((alone, ALONE), (launched, AS_FIRST)):
        contestant = Contestant(entry)
        try:
            contestant.ready()
            contestant.go(STEPS)
            step_s = min(contestant.go(STEPS)[0] / STEPS for _ in range(ROUNDS))
        finally:
            stop_all([contestant])
        yield entry.name, step_s / (NOTHING.micros * len(actions)) * 1e6
