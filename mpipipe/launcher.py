"""What a launcher (mpirun, srun) tells a process in its environment, found without MPI."""

import contextlib
import os
import sys
from pathlib import Path

RANK_NAMES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
LAUNCHERS = {"mpirun", "mpiexec", "prterun", "prted", "orterun", "orted", "hydra_pmi_proxy", "slurmstepd"}
"""Programs that start ranks, by the names (of at most 15 characters) that the kernel shows."""
OUTCOME_NAME = "MPIPIPE_OUTCOME"
SIZE_NAMES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")


def launched_rank() -> int | None:
    """The rank that a launcher gave this process; None when started by hand."""
    # Slurm sets SLURM_PROCID in a batch script too, but SLURM_STEP_NUM_TASKS only in a step that srun started.
    names = (*RANK_NAMES, "SLURM_PROCID") if "SLURM_STEP_NUM_TASKS" in os.environ else RANK_NAMES
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


def launched_size() -> tuple[str, int]:
    """The variable that says how many ranks were started, and that number; ("", 1) when started by hand."""
    return next(((name, int(os.environ[name])) for name in SIZE_NAMES if os.environ.get(name, "").isdigit()), ("", 1))


def without_launcher() -> bool:
    """Whether nothing in the environment speaks of a launcher, so that this process is certainly alone."""
    return launched_rank() is None and launched_size() == ("", 1) and "PMIX_NAMESPACE" not in os.environ


def started_by_launcher(proc: Path = Path("/proc")) -> bool:
    """Whether this process is a rank that a launcher itself started, with no shell or script between them.

    Variables alone do not show that: each task of a launcher, and whatever a user exports, has them.
    """
    try:
        parent = (proc / str(os.getppid()) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return False
    return launched_rank() is not None and parent in LAUNCHERS


def rank_0_says_it(proc: Path = Path("/proc")) -> bool:
    """Whether rank 0 certainly runs this very command line, so that other ranks may leave its mistakes to it."""
    one_program = os.environ.get("OMPI_NUM_APP_CTX", "1") == "1"
    return bool(launched_rank()) and one_program and started_by_launcher(proc)


def under_open_mpi() -> bool:
    """Whether Open MPI's mpirun started this process."""
    return "OMPI_COMM_WORLD_RANK" in os.environ


def last_word(text: str, proc: Path = Path("/proc")) -> None:
    """A line on standard error, even while mpirun is ending the ranks.

    Once it got a signal, Open MPI's mpirun copies nothing more that ranks write, so the line goes to mpirun's own
    standard error, where that can be opened.
    """
    if under_open_mpi() and started_by_launcher(proc):
        with contextlib.suppress(OSError), (proc / str(os.getppid()) / "fd" / "2").open("a") as stream:
            stream.write(f"{text}\n")
            return
    print(text, file=sys.stderr, flush=True)


def undo_binding() -> None:
    """Let this rank use every core that mpirun itself may use.

    Open MPI binds each rank, with all its threads, to one core unless told otherwise. Limits that the user or a batch
    system set hold for mpirun as well, and stay.
    """
    if not under_open_mpi() or not hasattr(os, "sched_setaffinity"):
        return
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()) | os.sched_getaffinity(0))


def launcher_stream(descriptor: int, proc: Path = Path("/proc")) -> Path | None:
    """Where mpirun's own stream 1 or 2 goes, if mpirun is this process's parent and that is a terminal.

    mpirun gives ranks pipes (or terminals of its own) and copies what comes out of them, so a rank's own streams do not
    tell whether a person is looking.
    """
    try:
        target = (proc / str(os.getppid()) / "fd" / str(descriptor)).readlink()
    except OSError:
        return None
    return target if str(target).startswith(("/dev/pts/", "/dev/tty")) else None


def note_outcome(line: str) -> None:
    """A line for the script that started the launcher, in the new file that it names in MPIPIPE_OUTCOME, if it does.

    Only rank 0 calls this, whose host that script runs on. A file that cannot be written must not end a run.
    """
    path = os.environ.get(OUTCOME_NAME)
    if path:
        with contextlib.suppress(OSError), Path(path).open("a", errors="surrogateescape") as file:
            file.write(f"{line}\n")
