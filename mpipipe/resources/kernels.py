"""Which kernel OpenBLAS computes with, and a choice between them. Knows nothing of ranks.

OpenBLAS holds a kernel for each generation of CPUs. They round differently, so hosts that shall compute the same bits
must use the same one; and the newest that a CPU can run is not always the fastest: 512-bit instructions double the
speed of some and slow others down. The kernel may be changed while no product is under way, where the library exports
the two functions that do it at its own start.
"""

import ctypes
import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

CHOICES = ("Haswell", "SkylakeX")
"""Kernels to choose from: AVX2, which every x86 CPU since 2013 can run, and AVX-512."""
CLEARLY = 1.25
"""A later choice must be this much faster than an earlier one, so that noise does not decide."""
VARIABLE = "OPENBLAS_CORETYPE"
ROUNDS, SHAPE = 7, (256, 1024, 1024)


def current_kernel() -> str:
    """The kernel in use, such as `Haswell`; empty where BLAS does not say."""
    blas = _library()
    if blas is not None:
        return str(blas.gotoblas_corename().decode("ascii", "replace"))
    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    pools.sort(key=lambda pool: "numpy" not in str(pool.get("filepath", "")))
    return str(pools[0].get("architecture") or "") if pools else ""


def use_kernel(name: str) -> bool:
    """Compute with this kernel from now on, if the CPU can; whether it does."""
    blas = _library()
    if blas is None:
        return current_kernel() == name
    if current_kernel() != name:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = name
        blas.gotoblas_dynamic_quit()
        blas.gotoblas_dynamic_init()
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
    return current_kernel() == name


def kernel_rates() -> dict[str, float]:
    """Flop/s of every choice that this CPU can run, the best of a few rounds that take turns.

    Empty where there is nothing to choose: another BLAS, or a kernel that the user named in the environment.
    """
    if VARIABLE in os.environ or _library() is None:
        return {}
    at_start, able = current_kernel(), [name for name in CHOICES if use_kernel(name)]
    best = dict.fromkeys(able, 0.0)
    m, k, n = SHAPE
    left, right, out = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.empty((m, n), np.float32)
    for _ in range(ROUNDS):
        for name in able:
            use_kernel(name)
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            best[name] = max(best[name], 2.0 * m * k * n / (time.perf_counter() - began))
    use_kernel(at_start)
    return best


def choose_kernel(rates: Sequence[Mapping[str, float]]) -> str:
    """The kernel for all hosts, of those that each of them can run: the first that no later one beats clearly.

    Empty where there is nothing to choose from.
    """
    chosen, most = "", 0.0
    for name in CHOICES:
        if rates and all(name in host for host in rates):
            together = sum(host[name] for host in rates)
            if not chosen or together > CLEARLY * most:
                chosen, most = name, together
    return chosen


@cache
def _library() -> Any:
    """The OpenBLAS that numpy has loaded, if it can change its kernel, else None."""
    paths = [pool["filepath"] for pool in threadpool_info() if pool.get("internal_api") == "openblas"]
    paths.sort(key=lambda path: "numpy" not in path)
    try:
        library = ctypes.CDLL(paths[0]) if paths else None
        if library is None:
            return None
        library.gotoblas_corename.restype = ctypes.c_char_p
        library.gotoblas_dynamic_quit.restype = library.gotoblas_dynamic_init.restype = None
    except (OSError, AttributeError):
        return None
    return library
