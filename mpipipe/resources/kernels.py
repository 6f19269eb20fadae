"""Which kernel OpenBLAS computes with, and a choice between them. Knows nothing of ranks.

OpenBLAS holds a kernel for each generation of x86 CPUs. They round differently, so hosts that compute the same bits use
the same one. The choice depends only on what the CPUs are (`families` names which of them are faster with which
kernel), never on a measurement: it is the same at every start. The kernel may be changed while no product runs, where
the library exports the two functions that it calls at its own start. OpenBLAS does not check whether the CPU can run
the kernel that it is told to use (the process dies at the first product); so only those are used that are not newer
than the kernel that OpenBLAS itself detects.
"""

import ctypes
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from mpipipe.resources.families import Cpu, gains_from_avx512, read_cpu

CHOICES = ("SkylakeX", "Haswell", "Sandybridge", "Nehalem")
"""Newest first: AVX-512; AVX2 (Intel since 2013, AMD since 2015 or 2017); AVX (2011); SSE 4.2 (2008), numpy's least."""
OTHER_NAMES = {
    "cooperlake": "SkylakeX",
    "sapphirerapids": "SkylakeX",
    "zen": "Haswell",
    "excavator": "Sandybridge",
    "steamroller": "Sandybridge",
    "piledriver": "Sandybridge",
    "bulldozer": "Sandybridge",
}
"""What some builds of OpenBLAS detect besides, and the newest choice that such a CPU is sure to run."""
VARIABLE = "OPENBLAS_CORETYPE"
ROUNDS, SHAPE = 7, (256, 1024, 1024)


@dataclass(frozen=True)
class Kernels:
    """What one process may compute with, newest first: all that its CPU can run, and those that suit it."""

    usable: tuple[str, ...]
    suited: tuple[str, ...]


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
    if current_kernel() == name:
        return True
    return name in CHOICES[_newest() :] and _switch(name) == name


def kernels_here(root: Path = Path("/")) -> Kernels:
    """The choices of this process.

    Only the present kernel where there is nothing to choose: another BLAS, another kind of CPU, or a kernel that the
    user named in the environment.
    """
    present = current_kernel()
    if VARIABLE in os.environ or _newest() == len(CHOICES):
        return Kernels((present,), (present,))
    usable = tuple(name for name in CHOICES if use_kernel(name)) or (present,)
    use_kernel(present)
    return Kernels(usable, suited_kernels(usable, read_cpu(root)))


def suited_kernels(usable: Sequence[str], cpu: Cpu) -> tuple[str, ...]:
    """The usable kernels without AVX-512 where this family of CPUs is not known to gain from it."""
    suited = tuple(name for name in usable if name != "SkylakeX" or gains_from_avx512(cpu))
    return suited or tuple(usable)


def choose_kernel(wanted: str, hosts: Sequence[Kernels]) -> str:
    """The kernel for all hosts: the wanted one if each of them can use it, else the newest that suits all of them, else
    the newest that all can use; empty where they have none in common. The number of ranks on a host changes nothing."""
    if hosts and all(wanted in host.usable for host in hosts):
        return wanted
    return _newest_common([host.suited for host in hosts]) or _newest_common([host.usable for host in hosts])


def unusable_kernel() -> str:
    """The kernel that the environment has OpenBLAS use though this CPU cannot run it; empty where there is none."""
    present, newest = current_kernel(), _newest()
    named = OTHER_NAMES.get(present.casefold(), present)
    too_new = VARIABLE in os.environ and named in CHOICES and CHOICES.index(named) < newest < len(CHOICES)
    return present if too_new else ""


def other_kernels(chosen: str, hosts: Sequence[Kernels]) -> tuple[str, ...]:
    """Kernels that all hosts can use besides, and that may be faster: AVX2 and AVX-512."""
    return tuple(name for name in CHOICES[:2] if name != chosen and all(name in host.usable for host in hosts))


def kernel_rates(names: Sequence[str]) -> dict[str, list[float]]:
    """Products a second with each kernel, in a few rounds that take turns. It decides nothing: it is for a notice."""
    present = current_kernel()
    (m, k, n), rates = SHAPE, {name: [0.0] * ROUNDS for name in names}
    left, right, out = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.empty((m, n), np.float32)
    for turn in range(ROUNDS):
        for name in names:
            use_kernel(name)
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            rates[name][turn] = 1 / (time.perf_counter() - began)
    use_kernel(present)
    return rates


def gain(chosen: str, other: str, hosts: Sequence[Mapping[str, Sequence[float]]]) -> float:
    """How many times as fast the other kernel was, in the round and on the host where it gained least."""
    return min(new / old for rates in hosts for new, old in zip(rates[other], rates[chosen], strict=True))


def _newest_common(hosts: Sequence[Sequence[str]]) -> str:
    return next((name for name in (hosts[0] if hosts else ()) if all(name in host for host in hosts)), "")


@cache
def _newest() -> int:
    """The place in CHOICES of the newest kernel that this CPU can run, as OpenBLAS detects it; else their number."""
    present = current_kernel()
    if _library() is None:
        return len(CHOICES)
    detected = _switch(None)
    _switch(present)
    known = OTHER_NAMES.get(detected.casefold(), detected)
    return CHOICES.index(known) if known in CHOICES else len(CHOICES)


def _switch(name: str | None) -> str:
    """Let OpenBLAS start again with the kernel of that name, or the one that it detects; the name of what it has."""
    blas, before = _library(), os.environ.pop(VARIABLE, None)
    if name is not None:
        os.environ[VARIABLE] = name
    blas.gotoblas_dynamic_quit()
    blas.gotoblas_dynamic_init()
    os.environ.pop(VARIABLE, None)
    if before is not None:
        os.environ[VARIABLE] = before
    return current_kernel()


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
