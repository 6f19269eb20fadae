"""How fast one thread is: two rates, measured in under a second. Knows numpy only; nothing of ranks or hosts.

The caller pins BLAS to one thread, and lets all ranks of a host measure at the same time, as they will compute.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ROWS, SIDE = 64, 1024
ELEMENTS = 1 << 18


@dataclass(frozen=True)
class Rates:
    """Sustained rates of one thread: float32 matrix product in flop/s, elementwise passes in elements/s."""

    matrix_flops: float
    elements: float


def measure_rates(seconds: float = 0.2) -> Rates:
    """Both rates, each over at least `seconds`, after a warm-up of a quarter of it.

    A product is (64, 1024) by (1024, 1024), a micro-batch in a middling layer: 2 * 64 * 1024 * 1024 flop. A pass is one
    numpy function over 1 MiB; each of its 262,144 results counts as one element.
    """
    rng = np.random.default_rng(0)
    rows = rng.random((ROWS, SIDE), dtype=np.float32)
    weights = rng.random((SIDE, SIDE), dtype=np.float32)
    product = np.empty((ROWS, SIDE), np.float32)
    values = rng.random(ELEMENTS, dtype=np.float32)
    result = np.empty_like(values)

    def multiply() -> None:
        np.matmul(rows, weights, out=product)

    def passes() -> None:
        np.multiply(values, 0.5, out=result)
        np.add(result, values, out=result)
        np.maximum(result, 0.25, out=result)

    flops, elements = 2.0 * ROWS * SIDE * SIDE, 3.0 * ELEMENTS
    return Rates(flops * _calls_per_s(multiply, seconds), elements * _calls_per_s(passes, seconds))


def _calls_per_s(work: Callable[[], None], seconds: float) -> float:
    _repeat(work, seconds / 4)
    return _repeat(work, seconds)


def _repeat(work: Callable[[], None], seconds: float) -> float:
    # All calls over all the time, not the median call: a CPU quota or a busy neighbour stops a thread between many
    # calls that run at full speed, and a stage pays for the stops too.
    calls, start = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds and elapsed > 0:
            return calls / elapsed
