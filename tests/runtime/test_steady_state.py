"""Law 8: once it runs, a training allocates nothing large on any rank."""

import tracemalloc

import numpy as np
import pytest

from .cases import block, linear, make_case
from .harness import play

LAYERS = [
    linear(256),
    {"kind": "layernorm"},
    block(linear(256), {"kind": "gelu"}, {"kind": "dropout", "rate": 0.1}, linear(256)),
    {"kind": "relu"},
    linear(256),
    {"kind": "tanh"},
    linear(10),
]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_steps_after_the_first_allocate_nothing_large(schedule, order):
    """A micro-batch of activations and a weight are 256 KiB each; all three ranks together stay below one of them.

    One worker a rank: with more, one of them may meet a task for the first time at any step, and makes its scratch.
    """
    case = make_case(
        LAYERS,
        (256,),
        cuts=(2, 4),
        order=order,
        schedule=schedule,
        in_flight=4,
        gradients=2,
        batch=1024,
        micro_batch=256,
        tile_rows=100,
        clip_norm=1.0,
        count=1024,
    )
    rows = np.arange(1024)
    case.features, case.targets  # noqa: B018  (they are made when first asked for)

    def feed(rows, x, t):
        np.take(case.features, rows, axis=0, out=x, mode="clip")
        np.take(case.targets, rows, axis=0, out=t, mode="clip")

    def story(conductor):
        for step in range(2):
            conductor.train(rows, feed, step, 0.01)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for step in range(2, 6):
                conductor.train(rows, feed, step, 0.01)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    assert play(case, story).value < 200 * 1024
