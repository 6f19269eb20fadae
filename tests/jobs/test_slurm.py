"""What jobs/train.slurm promises, with fakes for Slurm's commands."""

import signal

import pytest

from .conftest import Scripts, finish, wait_for

RUNNING = (
    "JobId=7 JobState=RUNNING PreemptTime=None TimeLimit=01:00:00 Partition=old NumNodes=2 Account=(null) CPUs/Task=2"
)
PREEMPTED = "JobId=7 JobState=RUNNING PreemptTime=2030-01-01T00:00:00 NumNodes=2"
CANCELLED = "JobId=7 JobState=COMPLETING PreemptTime=None NumNodes=2"
SAVES = "trap 'note stopped interrupted; note ended 0; exit 0' USR1\n"
WAITS = "while :; do sleep 0.05; done"


@pytest.fixture
def job(scripts: Scripts) -> Scripts:
    """A job of Slurm with PMIx, on two nodes."""
    scripts.environment |= {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(scripts.top)}
    scripts.act("ompi_info", "")
    of_slurm(scripts, RUNNING)
    play(scripts, "note ready; note stopped finished; note ended 0")
    return scripts


def of_slurm(scripts: Scripts, job: str) -> None:
    """What `scontrol show job` says; `scontrol requeue` succeeds."""
    scripts.act("scontrol", f"[ $1 = requeue ] || echo {job!r}")


def play(scripts: Scripts, text: str, listed: str = "pmix pmix_v4") -> None:
    """What srun and mpirun do."""
    scripts.act("srun", f'if [ "$1" = --mpi=list ]; then echo "{listed}"; exit; fi\n{text}')
    scripts.act("mpirun", text)


def requeued(scripts: Scripts) -> bool:
    """Whether the job was queued again."""
    return "scontrol requeue 7" in scripts.calls()


def test_srun_with_pmix_starts_the_ranks(job: Scripts) -> None:
    job.environment["SLURM_CPUS_PER_TASK"] = "3"
    assert job.run("train.slurm", "digits") == (0, "")
    assert "srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=3 python -m mpipipe train digits" in job.calls()
    assert "--out results/slurm-7" in job.calls()


def test_mpirun_starts_them_where_slurm_has_no_pmix_or_it_is_asked_for(job: Scripts) -> None:
    play(job, "note ready; note ended 0", listed="pmi2 none")
    assert job.run("train.slurm")[0] == 0
    play(job, "note ready; note ended 0")
    job.environment["LAUNCHER"] = "mpirun"
    assert job.run("train.slurm")[0] == 0
    assert job.calls().count("mpirun python") == 2


def test_a_heterogeneous_job_uses_all_of_its_nodes(job: Scripts) -> None:
    job.environment |= {
        "SLURM_HET_SIZE": "2", "SLURM_JOB_NUM_NODES_HET_GROUP_0": "1", "SLURM_JOB_NUM_NODES_HET_GROUP_1": "4",
        "SLURM_NTASKS_HET_GROUP_0": "1", "SLURM_CPUS_PER_TASK_HET_GROUP_0": "2",
    }  # fmt: skip
    assert job.run("train.slurm")[0] == 0
    first, second = job.calls().splitlines()[-2].split(" : ")
    assert "--het-group=0 --nodes=1 --ntasks=1 --cpus-per-task=2 python" in first
    assert "--het-group=1 --nodes=4 --ntasks=4 --cpus-per-task=1 python" in second


def test_a_heterogeneous_job_that_mpirun_would_cut_short_is_refused(job: Scripts) -> None:
    job.environment["SLURM_HET_SIZE"] = "2"
    play(job, "note ready; note ended 0", listed="pmi2")
    status, printed = job.run("train.slurm")
    assert status == 2
    assert "heterogeneous" in printed


def test_the_index_of_an_array_is_the_seed_unless_another_is_given(job: Scripts) -> None:
    job.environment |= {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}
    assert job.run("train.slurm", "digits", "--set", "train.seed=9")[0] == 0
    assert "train --set train.seed=3 digits --set train.seed=9 --out results/slurm-5_3" in job.calls()


@pytest.mark.parametrize(("tasks", "out"), [("2", "runs/3"), ("1", "runs")])
def test_tasks_of_an_array_share_no_folder(job: Scripts, tasks: str, out: str) -> None:
    job.environment |= {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": tasks}
    job.environment["OUT"] = "runs"
    assert job.run("train.slurm")[0] == 0
    assert f"--out {out}\n" in job.calls()


def test_it_goes_on_from_a_checkpoint(job: Scripts) -> None:
    (job.top / "results/slurm-7/checkpoints").mkdir(parents=True)
    (job.top / "results/slurm-7/checkpoints/step-1.h5").touch()
    assert job.run("train.slurm")[0] == 0
    assert "--out results/slurm-7 --resume" in job.calls()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("note ready; note stopped finished; note ended 0", 0),
        ("note ready; note ended 2; exit 2", 2),
        ("note ready; exit 0", 1),
        ("note ready; note ended 130; exit 130", 130),
        ("exit 9", 9),
    ],
)
def test_the_status_is_that_of_the_program(job: Scripts, text: str, status: int) -> None:
    play(job, text)
    assert job.run("train.slurm")[0] == status
    assert not requeued(job)


@pytest.mark.parametrize("text", ["exit 0", "note ready; exit 0", "note ready; note ended 130; exit 130",
                                  "note ready; note stopped interrupted; note ended 0"])  # fmt: skip
def test_a_preempted_job_is_queued_again(job: Scripts, text: str) -> None:
    of_slurm(job, PREEMPTED)
    play(job, text)
    assert job.run("train.slurm")[0] == 0
    assert requeued(job)


@pytest.mark.parametrize(
    "text", ["note ready; note stopped finished; note ended 0", "note ready; note ended 1; exit 1"]
)
def test_a_preempted_job_that_is_over_is_not_queued_again(job: Scripts, text: str) -> None:
    of_slurm(job, PREEMPTED)
    play(job, text)
    assert job.run("train.slurm")[0] == int("1" in text)
    assert not requeued(job)


def test_a_job_that_slurm_ends_is_never_queued_again(job: Scripts) -> None:
    of_slurm(job, CANCELLED)
    play(job, "note ready; note stopped interrupted; note ended 0")
    status, _ = job.run("train.slurm")
    assert (status, requeued(job)) == (75, False)


def at_work(job: Scripts, number: signal.Signals) -> tuple[int, str]:
    """A job that gets the signal while it trains, and saves."""
    play(job, f"{SAVES}note ready; touch {job.top}/working\n{WAITS}")
    script = job.start("train.slurm", "digits", "--set", "data.path='a b'")
    wait_for(script, job.top / "working")
    script.send_signal(number)
    return finish(script)


def test_usr1_saves_and_queues_again(job: Scripts) -> None:
    status, printed = at_work(job, signal.SIGUSR1)
    assert (status, requeued(job)) == (0, True), printed


def test_restarts_come_to_an_end_and_the_line_to_go_on_repeats_the_options_of_sbatch(job: Scripts) -> None:
    job.environment |= {"SLURM_RESTART_COUNT": "2", "RESTARTS": "2"}
    status, printed = at_work(job, signal.SIGUSR1)
    assert (status, requeued(job)) == (75, False)
    assert printed.splitlines()[-1] == (
        "OUT=results/slurm-7 sbatch --time=01:00:00 --partition=old --nodes=2 --cpus-per-task=2 "
        "jobs/train.slurm digits --set data.path=\\'a\\ b\\'"
    )


def test_term_saves_and_ends(job: Scripts) -> None:
    assert at_work(job, signal.SIGTERM)[0] == 75
    assert not requeued(job)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 0), (signal.SIGTERM, 75)])
def test_a_signal_before_the_program_is_started_starts_none(job: Scripts, number: signal.Signals, status: int) -> None:
    listing = f"touch {job.top}/asked; until [ -e {job.top}/go ]; do sleep 0.05; done; echo pmix; exit"
    job.act("srun", f'if [ "$1" = --mpi=list ]; then {listing}; fi\nnote ready; note ended 0')
    script = job.start("train.slurm", "digits")
    wait_for(script, job.top / "asked")
    script.send_signal(number)
    (job.top / "go").touch()
    assert finish(script)[0] == status
    assert requeued(job) == (number is signal.SIGUSR1)
    assert "mpipipe train" not in job.calls()
