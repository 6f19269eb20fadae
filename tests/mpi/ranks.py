"""Running mpipipe under real mpirun, on this machine."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NOTHING = "nothing", -1
"""No mishap."""
ENDED = "---- a command has ended ----\n"
"""What driver.py prints after each of several commands."""
NEVER_BEGAN = "The PMIx server's listener thread failed to start"
DRIVER = Path(__file__).with_name("driver.py")
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_btl": "sm,tcp,self",
    "OMPI_MCA_btl_tcp_if_include": "127.0.0.0/8",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> list[str]:
        """Lines on standard error that the program itself wrote, mpirun's own left out."""
        return [line for line in self.err.splitlines() if line.startswith(("mpipipe", "###"))]


def command(ranks: int, *arguments: str, mishap: tuple[str, int] | None = None) -> list[str]:
    """The command line of so many ranks."""
    program = ["-m", "mpipipe"] if mishap is None else [str(DRIVER), mishap[0], str(mishap[1])]
    mpirun = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)]
    return [*mpirun, sys.executable, *program, *arguments]


def environment() -> dict[str, str]:
    """Ours, with what makes Open MPI behave on a small machine."""
    return {**os.environ, **ENVIRONMENT}


def run(ranks: int, *arguments: str, mishap: tuple[str, int] | None = None, timeout: float = 300) -> Ended:
    """Run to the end; anew where mpirun itself did not start, which happens to it once in a few hundred times where
    others begin or end beside it."""
    for _ in range(3):
        began = time.monotonic()
        done = subprocess.run(
            command(ranks, *arguments, mishap=mishap),
            env=environment(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = (text.decode(errors="replace").replace("\0", "") for text in (done.stdout, done.stderr))
        ended = Ended(done.returncode, out, err, time.monotonic() - began)
        if NEVER_BEGAN not in err:
            break
    return ended


def quick(ranks: int, *arguments: str) -> Ended:
    """Run to the end, but for what takes seconds and tells nothing: see driver.py."""
    return run(ranks, *arguments, mishap=NOTHING)


def in_turn(ranks: int, *commands: list[str], mishap: tuple[str, int] = NOTHING) -> list[Ended]:
    """Several commands in one launch, as quick as one; those after one that fails are left out."""
    ended = run(ranks, "several", json.dumps(commands), mishap=mishap)
    texts = zip(*(text.replace("\r", "").split(ENDED) for text in (ended.out, ended.err)), strict=False)
    every = [Ended(0, out, err, ended.seconds) for out, err in texts]
    if ended.status:
        return [*every[:-1], ended]
    *every, rest = every
    return [*every[:-1], replace(every[-1], out=every[-1].out + rest.out, err=every[-1].err + rest.err)]


def alone(*arguments: str) -> Ended:
    """One rank without mpirun."""
    began = time.monotonic()
    environ = {**environment(), "OMPI_MCA_btl": "self"}
    line = [sys.executable, "-m", "mpipipe", *arguments]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=300, check=False)
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def settings(**values: object) -> list[str]:
    """`train_steps=3` becomes `--set train.steps=3`."""
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('_', '.', 1)}={value}")]


def newest(folder: Path) -> Path:
    """The last checkpoint of a run."""
    return max(folder.glob("checkpoints/step-*.h5"))


def same(left: Path, right: Path) -> str:
    """Empty where two checkpoints are the same bit for bit, else where they differ."""
    from mpipipe.checkpoint import compare

    return "\n".join(f"{found.place}: {found.what}" for found in compare(left, right))


def tracebacks(text: str) -> int:
    """How many tracebacks a text holds."""
    return len(re.findall(r"^Traceback", text, re.MULTILINE))
