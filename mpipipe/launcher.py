"""What a launcher (mpirun, srun) tells a process in its environment, found without MPI."""

import contextlib
import os
from pathlib import Path

RANK_NAMES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
LAUNCHERS = {"mpirun", "mpiexec", "prterun", "prted", "orterun", "orted", "hydra_pmi_proxy", "slurmstepd"}
"""Programs that start ranks, by the names (of at most 15 characters) that the kernel shows."""
FIRST_LAUNCHERS = {"mpirun", "mpiexec", "prterun", "orterun", "mpiexec.hydra"}
"""Those that a user starts; the others are their deputies on a host."""
INNER_LAUNCHERS = {"hydra_pmi_proxy"}
"""Deputies that are also there between a launcher and the ranks of its own host."""
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


def launcher_above(proc: Path = Path("/proc")) -> int | None:
    """The process number of the mpirun that started this process, itself or by way of shells and scripts.

    None where it is on another machine or belongs to another user, or where something else started the ranks here.
    """
    pid = os.getppid()
    while pid > 1:
        try:
            name = (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
            ours = (proc / str(pid)).stat().st_uid == os.getuid()
            above = int(
                (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError, IndexError):
            return None
        if name in FIRST_LAUNCHERS:
            return pid if ours else None
        if name in LAUNCHERS and name not in INNER_LAUNCHERS:
            return None
        pid = above
    return None


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
