"""What jobs/launch.sh promises: the recorded status, signals that get through, and standard input left alone."""

import signal
import subprocess

import pytest

from .conftest import Scripts, finish, wait_for

SAVES = "trap 'note stopped interrupted; note ended 0; exit 0' USR1\n"
WAITS = "while :; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("recorded", "launcher", "status"),
    [
        ("note ready; note ended 0", 0, 0),
        ("note ready; note ended 0", 1, 0),
        ("note ready; note ended 130", 0, 130),
        ("note ready; note ended 2", 2, 2),
        ("note ready", 137, 137),
        ("note ready", 0, 1),
        ("", 0, 1),
        ("", 213, 213),
    ],
)
def test_the_recorded_status_counts_and_silence_is_no_success(
    scripts: Scripts, recorded: str, launcher: int, status: int
) -> None:
    scripts.act("mpirun", f"{recorded}\nexit {launcher}")
    found, printed = scripts.run("local.sh", "--quiet")
    assert found == status, printed
    lost = "ended" not in recorded and (launcher == 0 or bool(recorded))
    assert ("recorded no end" in printed) == lost, printed


def test_an_older_outcome_is_not_believed(scripts: Scripts) -> None:
    old = scripts.top / "old"
    old.write_text("ready\nended 0\n")
    scripts.environment["MPIPIPE_OUTCOME"] = str(old)
    scripts.act("mpirun", "exit 0")
    assert scripts.run("local.sh", "--quiet")[0] == 1


def test_a_lost_run_says_how_to_go_on(scripts: Scripts) -> None:
    scripts.act(
        "mpirun", "note ready; note folder my run; mkdir -p 'my run/checkpoints'; touch 'my run/checkpoints/a.h5'"
    )
    status, printed = scripts.run("local.sh", "--quiet")
    assert status == 1
    assert "--resume and --out my\\ run" in printed


def test_no_outcome_file_stays(scripts: Scripts) -> None:
    scripts.run("local.sh", "--quiet")
    assert not list(scripts.top.parent.glob("tmp.*"))


def test_usr1_while_the_environment_is_prepared_reaches_the_program_once_it_is_ready(scripts: Scripts) -> None:
    scripts.act("python", f"touch {scripts.top}/preparing; until [ -e {scripts.top}/go ]; do sleep 0.05; done")
    scripts.act("mpirun", f"sleep 0.5\n{SAVES}note ready\n{WAITS}")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "preparing")
    script.send_signal(signal.SIGUSR1)
    (scripts.top / "go").touch()
    assert finish(script) == (0, "")


def test_usr1_before_the_program_is_ready_waits_for_it(scripts: Scripts) -> None:
    scripts.act("mpirun", f"touch {scripts.top}/starting; sleep 0.5\n{SAVES}note ready\n{WAITS}")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "starting")
    script.send_signal(signal.SIGUSR1)
    assert finish(script) == (0, "")


ENDS = "trap 'note ended 130; exit 130' TERM\n"


def test_int_ends_the_program(scripts: Scripts) -> None:
    scripts.act("mpirun", f"{SAVES}{ENDS}note ready; touch {scripts.top}/working\n{WAITS}")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "working")
    script.send_signal(signal.SIGINT)
    assert finish(script) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_term_and_hup_let_the_program_save_and_have_a_status(scripts: Scripts, number: signal.Signals) -> None:
    saves = f"trap 'touch {scripts.top}/saved; note stopped interrupted; note ended 0; exit 0' USR1\n"
    scripts.act("mpirun", f"{saves}{ENDS}note ready; touch {scripts.top}/working\n{WAITS}")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "working")
    script.send_signal(number)
    assert finish(script) == (130, "")
    assert (scripts.top / "saved").exists()


def test_a_second_term_ends_a_program_that_saves(scripts: Scripts) -> None:
    scripts.act(
        "mpirun", f"trap 'touch {scripts.top}/saving' USR1\n{ENDS}note ready; touch {scripts.top}/working\n{WAITS}"
    )
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "working")
    script.send_signal(signal.SIGTERM)
    wait_for(script, scripts.top / "saving")
    script.send_signal(signal.SIGTERM)
    assert finish(script) == (130, "")


def test_term_while_the_environment_is_prepared_starts_no_program(scripts: Scripts) -> None:
    scripts.act("python", f"touch {scripts.top}/preparing; until [ -e {scripts.top}/go ]; do sleep 0.05; done")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "preparing")
    script.send_signal(signal.SIGTERM)
    (scripts.top / "go").touch()
    assert finish(script) == (130, "local.sh: stopped before the program was started\n")
    assert "mpirun" not in scripts.calls()


def test_term_before_the_program_is_ready_ends_it(scripts: Scripts) -> None:
    scripts.act("mpirun", f"touch {scripts.top}/starting\n{WAITS}")
    script = scripts.start("local.sh", "--quiet")
    wait_for(script, scripts.top / "starting")
    script.send_signal(signal.SIGTERM)
    status, printed = finish(script)
    assert (status, "stopped before the program had begun" in printed) == (130, True)


def test_standard_input_is_left_to_whoever_comes_after(scripts: Scripts) -> None:
    scripts.act("mpirun", "cat >/dev/null; note ready; note ended 0")
    loop = "while read -r line; do jobs/local.sh --quiet; echo $line; done"
    done = subprocess.run(
        ["bash", "-c", loop], cwd=scripts.top, env=scripts.environment, input="1\n2\n3\n",
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n2\n3\n"


def test_lines_that_others_append_to_a_file_of_the_scripts_are_not_overwritten(scripts: Scripts) -> None:
    file = scripts.top / "printed"
    scripts.act("mpirun", f"note ready; note ended 0; echo one; echo two >>{file}; echo three >&2")
    with file.open("w") as printed:
        subprocess.run(
            ["jobs/local.sh", "--quiet"], cwd=scripts.top, env=scripts.environment, stdin=subprocess.DEVNULL,
            stdout=printed, stderr=printed, timeout=30, check=True,
        )  # fmt: skip
    assert file.read_text() == "one\ntwo\nthree\n"


def test_help_starts_nothing(scripts: Scripts) -> None:
    for script in ("local.sh", "minis.sh", "train.slurm"):
        status, printed = scripts.run(script, "digits", "--help")
        assert status == 0
        assert script in printed
    assert scripts.calls() == ""
