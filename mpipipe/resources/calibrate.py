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
    """Rates of one thread, by its CPU time: float32 matrix product in flop/s, elementwise passes in elements/s.

    `cpu_share` is the CPU time that the thread got of the time that passed: 1 with a core of its own.
    """

    matrix_flops: float
    elements: float
    cpu_share: float


Clock = Callable[[], float]


def measure_rates(seconds: float = 0.2, clock: Clock = time.perf_counter, cpu_clock: Clock = time.thread_time) -> Rates:
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

    began, cpu_began = clock(), cpu_clock()
    per_s = [_calls_per_cpu_s(work, seconds, clock, cpu_clock) for work in (multiply, passes)]
    share = (cpu_clock() - cpu_began) / max(clock() - began, 1e-9)
    return Rates(2.0 * ROWS * SIDE * SIDE * per_s[0], 3.0 * ELEMENTS * per_s[1], min(1.0, max(share, 1e-3)))


def _calls_per_cpu_s(work: Callable[[], None], seconds: float, clock: Clock, cpu_clock: Clock) -> float:
    _repeat(work, seconds / 4, clock, cpu_clock)
    return _repeat(work, seconds, clock, cpu_clock)


def _repeat(work: Callable[[], None], seconds: float, clock: Clock, cpu_clock: Clock) -> float:
    # By CPU time: while a quota or another process has the core, the thread is no slower, it has less of a core.
    calls, start, cpu_start = 0, clock(), cpu_clock()
    while True:
        work()
        calls += 1
        cpu_s = cpu_clock() - cpu_start
        if clock() - start >= seconds and cpu_s > 0:
            return calls / cpu_s
