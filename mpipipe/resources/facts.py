"""What this host is and has, from the operating system and numpy: no traffic, no MPI.

Linux first; where /proc, cgroups or CPU affinity are missing (macOS) the next best source answers. `root` stands for /
in every function that reads files, so that a test can bring its own.
"""

import math
import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_info

import mpipipe
from mpipipe.resources.calibrate import Rates
from mpipipe.resources.cluster import Host
from mpipipe.resources.kernels import current_kernel

ROOT = Path("/")
SOMEBODY_ELSE = 0.8
"""Less than so much of the expected CPU time is no accident of the scheduler: it was 0.9 or more on quiet machines."""


@dataclass(frozen=True)
class Place:
    """A rank among those of its host: `ranks_here` share the memory; `sharing` of them may use the same cores, of
    which this is number `turn`, from 0, and `pool` the lowest rank. (A launcher that
    binds ranks gives each cores of its own: `sharing` is 1.)"""

    ranks_here: int = 1
    sharing: int = 1
    turn: int = 0
    pool: int = 0


def host_facts(rank: int, place: Place, mpi: str, rates: Rates) -> Host:
    """This rank's share of its host. `mpi` names the MPI library; `rates` are those of one thread."""
    ram_bytes, available_bytes = memory()
    blas, kernel = blas_and_kernel()
    cores = usable_cores()
    return Host(
        rank=rank,
        name=socket.gethostname(),
        ip=ip_address(),
        ram_bytes=ram_bytes,
        available_bytes=max(1, available_bytes // place.ranks_here),
        threads=share_of_threads(usable_threads(), place.sharing, place.turn),
        cores=cores / place.sharing,
        period_s=quota_period_s(),
        left=_part_left(cores / place.sharing, rates.cpu_share),
        pool=str(place.pool),
        matrix_flops=rates.matrix_flops,
        elements=rates.elements,
        cpu=cpu_model(),
        blas=blas,
        kernel=kernel,
        python=platform.python_version(),
        numpy=np.__version__,
        mpi=mpi,
        mpipipe=mpipipe.__version__,
    )


def ip_address(root: Path = ROOT) -> str:
    """The IPv4 address of the default route's interface, else of the first one that is up; 127.0.0.1 if none."""
    states = psutil.net_if_stats()
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        mine = [one.address for one in addresses if one.family == socket.AF_INET and not one.address.startswith("127.")]
        if mine and (name not in states or states[name].isup):
            found[name] = mine[0]
    first = next(iter(found.values()), "127.0.0.1")
    return str(found.get(_default_interface(root), first))


def memory(root: Path = ROOT) -> tuple[int, int]:
    """Bytes of memory in all and available, of the host or of the tightest cgroup limit on this process."""
    system = psutil.virtual_memory()
    total, available = int(system.total), int(system.available)
    for folder in _cgroup_folders("memory", root):
        limit = _memory_limit(folder)
        if limit is not None:
            total, available = min(total, limit), min(available, max(0, limit - _memory_used(folder)))
    return total, available


def boot_id(root: Path = ROOT) -> str:
    """Another one for every start of a machine's kernel; empty where there is none (macOS)."""
    return _text(root / "proc/sys/kernel/random/boot_id").strip()


def limiting_group(controller: str, root: Path = ROOT) -> str:
    """The closest cgroup that limits this process's "cpu" or "memory", alike for all processes in it, whatever path
    each sees it by; empty where none does."""
    for folder in _cgroup_folders(controller, root):
        limit = _cpu_quota(folder) if controller == "cpu" else _memory_limit(folder)
        if limit is not None and limit < (math.inf if controller == "cpu" else psutil.virtual_memory().total):
            facts = folder.stat()
            return f"{facts.st_dev}:{facts.st_ino}"
    return ""


def usable_cores(root: Path = ROOT) -> float:
    """Cores that this process may use: CPU affinity or the cgroup quota, whichever is less; a fraction where a quota
    says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(cores), *(_cpu_quota(folder) for folder in _cgroup_folders("cpu", root))])


def quota_period_s(root: Path = ROOT) -> float:
    """Seconds after which the CPU quota behind `usable_cores` is renewed; 0 where none is."""
    cores = usable_cores(root)
    found = [_cpu_period_s(folder) for folder in _cgroup_folders("cpu", root) if _cpu_quota(folder) == cores]
    return found[0] if found else 0.0


def usable_threads(root: Path = ROOT) -> int:
    """Threads that keep these cores busy: a core that is there in part takes a thread, too; at least 1."""
    return max(1, math.ceil(usable_cores(root)))


def _part_left(cores: float, cpu_share: float) -> float:
    """The part of a rank's `cores` that others leave it. While all ranks of the host measured, one thread each, a
    thread got `cpu_share` of a core: where that is clearly less than it should be, somebody else has the rest."""
    part = cpu_share / min(1.0, cores)
    return part if part < SOMEBODY_ELSE else 1.0


def share_of_threads(total: int, ranks_here: int, place_here: int) -> int:
    """Threads of one rank where `ranks_here` share `total`: the first ones take the remainder; at least 1."""
    share, more = divmod(total, ranks_here)
    return max(1, share + (place_here < more))


def cpu_model(root: Path = ROOT) -> str:
    """Such as `AMD Ryzen 5 3600 6-Core Processor`; the board's name on ARM; else what the platform says."""
    lines = [line.partition(":") for line in _text(root / "proc/cpuinfo").splitlines()]
    values = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    return values.get("model name") or values.get("Model") or platform.processor() or platform.machine()


def blas_and_kernel() -> tuple[str, str]:
    """Numpy's BLAS, such as `openblas 0.3.31`, and what its hosts must share to round alike: `SkylakeX/AVX512_SKX`.

    The kernel is BLAS's own, then the highest instruction set that numpy's elementwise loops chose.
    """
    config: Any = np.show_config(mode="dicts")
    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    pools.sort(key=lambda pool: "numpy" not in str(pool.get("filepath", "")))
    pool = pools[0] if pools else {}
    built = config.get("Build Dependencies", {}).get("blas", {})
    name = pool.get("internal_api") or built.get("name")
    version = pool.get("version") if pool else built.get("version")
    simd = config.get("SIMD Extensions", {})
    level = [*(simd.get("baseline") or []), *(simd.get("found") or [])][-1:]
    return _words(" ", name, version), _words("/", current_kernel(), *level)


def _words(between: str, *words: str | None) -> str:
    return between.join(str(word) for word in words if word)


def _default_interface(root: Path) -> str:
    rows = [line.split() for line in _text(root / "proc/net/route").splitlines()[1:]]
    routes = [(int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"]
    return min(routes)[1] if routes else ""


def _cgroup_folders(controller: str, root: Path) -> list[Path]:
    # A limit of any ancestor holds too. A container may see its own group as the top of the mount while
    # /proc/self/cgroup names it in full: folders that are not there read as no limit.
    folders = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounts = (controller, controllers) if controllers else (".", "unified")
        group = PurePosixPath(path.lstrip("/"))
        folders += [root / "sys/fs/cgroup" / mount / part for mount in mounts for part in (group, *group.parents)]
    return folders


def _memory_limit(folder: Path) -> int | None:
    return _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")


def _memory_used(folder: Path) -> int:
    # File pages that nobody has touched lately count as used, but are given back as soon as memory is asked for.
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    fields = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    return max(0, used - int(fields.get("total_inactive_file") or fields.get("inactive_file") or 0))


def _cpu_quota(folder: Path) -> float:
    """Cores, infinitely many without a quota."""
    quota_us, period_us = _quota_and_period(folder)
    return quota_us / period_us if period_us else math.inf


def _cpu_period_s(folder: Path) -> float:
    return _quota_and_period(folder)[1] / 1e6


def _quota_and_period(folder: Path) -> tuple[int, int]:
    """Microseconds; 0, 0 without a quota."""
    words = _text(folder / "cpu.max").split() or [
        _text(folder / "cpu.cfs_quota_us").strip(),
        _text(folder / "cpu.cfs_period_us").strip(),
    ]
    known = len(words) == 2 and all(word.isdigit() for word in words)
    return (int(words[0]), int(words[1])) if known else (0, 0)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
