"""The contestant that nobody can beat by much: large matrix products and nothing else, on so many threads at once.

    python -m mpipipe.bench.ceiling THREADS KERNEL

A step is one float32 product of two (1024, 1024) matrices on each thread, BLAS itself being pinned to one thread: the
rate at which this machine multiplies, by the BLAS and the kernel that mpipipe uses.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from mpipipe.bench.lines import obey
from mpipipe.bench.used import Used, with_kernel
from mpipipe.records import to_plain
from mpipipe.resources import use_kernel
from mpipipe.resources.facts import blas_and_kernel

SIDE = 1024
FLOPS = 2.0 * SIDE**3
"""Of one product."""


def compete(threads: int, kernel: str) -> None:
    """The whole contestant."""
    use_kernel(kernel)
    rng = np.random.default_rng(0)
    shape = (threads, SIDE, SIDE)
    left, right = rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)
    out = np.empty(shape, np.float32)

    def multiply(thread: int, steps: int) -> None:
        for _ in range(steps):
            np.matmul(left[thread], right[thread], out=out[thread])

    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:

        def go(steps: int) -> tuple[float, float]:
            began = time.perf_counter()
            for done in [pool.submit(multiply, thread, steps) for thread in range(threads)]:
                done.result()
            return time.perf_counter() - began, 0.0

        blas, instructions = blas_and_kernel()
        used = Used(ranks=1, threads=threads, products=with_kernel(blas, instructions.partition("/")[0]))
        obey({"used": to_plain(used)}, go)


if __name__ == "__main__":
    compete(int(sys.argv[1]), sys.argv[2])
