"""The usage text is the manual, and every misuse is one line with status 2."""

import json
import os
import re
import subprocess
import sys

import pytest

import mpipipe
from mpipipe import cli, launcher

from .running import JOB, environment, one_line

HOST = {
    **{"rank": 0, "name": "mini1", "ip": "10.0.0.1", "ram_bytes": 2**33, "available_bytes": 2**32},
    **{"threads": 2, "matrix_flops": 1e10, "elements": 1e9},
}
MANUAL = cli.__doc__ or ""
USAGE, OPTIONS = MANUAL.split("Usage:\n")[1].split("Commands:\n")[0], MANUAL.split("Options:\n")[1].split("\n\n")[0]
DESCRIBED = {
    names: " ".join(text.split())
    for names, text in re.findall(r"^  (-.+?)(?:  +)(.*?)(?=^  -|\Z)", OPTIONS, re.MULTILINE | re.DOTALL)
}
UNITS = {
    "--threads N": ("threads of each rank", "default: the job's run.threads, 0"),
    "--stages P": ("Number of ranks", "[default: 4]"),
    "--micros M": ("Number of micro-batches", "[default: 8]"),
    "--in-flight K": ("Micro-batches in flight", "[default: 0]"),
    "--ranks N": ("Ranks of each pipeline", "(default: 2)"),
    "--rounds N": ("Turns of each contestant", "[default: 5]"),
    "--steps N": ("Steps of each turn", "(default: as many as take about 2 s)"),
    "--name NAME": ("gpipe, 1f1b, zb-h1, interleaved, zb-v or list", "[default: 1f1b]"),
    "--out DIR": ("Folder for results", "default: results/JOB-DATE-TIME for train, none for the others"),
    "--data DATA": ("stands for the key data.path", ""),
}


def test_every_option_is_described_once_and_used():
    used = set(re.findall(r"--[a-z-]+(?: [A-Z=,]+)?", USAGE)) - {"--help"}
    described = set(DESCRIBED) - {"-h --help"}
    assert used == described
    assert "-h --help" in DESCRIBED


@pytest.mark.parametrize("option", UNITS)
def test_units_and_defaults(option):
    for text in UNITS[option]:
        assert text in DESCRIBED[option]


def test_every_command_and_argument_is_described():
    commands = set(re.findall(r"^  mpipipe ([a-z]+)", USAGE, re.MULTILINE))
    assert commands == set(cli.COMMANDS)
    for name in commands:
        assert re.search(rf"^  {name}  +[A-Z]", MANUAL, re.MULTILINE)
    for name in ("JOB", "CHECKPOINT", "RUN", "INPUT", "PROMPT", "MODEL"):
        assert re.search(rf"^  {name}  +[A-Z]", MANUAL, re.MULTILINE)
    assert all(f"{status}" in MANUAL.split("Exit status:")[1] for status in (0, 1, 2))


def test_no_line_is_wider_than_a_screen():
    assert max(map(len, MANUAL.splitlines())) <= 120


def refused(capsys, *arguments):
    assert cli.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return one_line(err)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), ""),
        (("trian",), "trian"),
        (("train", "a", "b", "c"), "c"),
        (("train", "--bogus"), "--bogus"),
        (("train", "--threads"), "--threads"),
        (("predict", "one.h5"), "one.h5"),
        (("inspect",), "an argument is missing"),
        (("inspect", "a.h5", "--threads", "1"), "--threads"),
        (("schedule", "--quiet"), "--quiet"),
        (("plan", "--resume"), "--resume"),
        (("bench", "--threads", "2"), "--threads"),
    ],
)
def test_misuse(capsys, arguments, named):
    text = refused(capsys, *arguments)
    assert text.startswith("the command line is not one of the usages")
    assert text.endswith("; see: python -m mpipipe --help")
    assert named in text
    assert not re.search(r"Argument\(|Option\(|Command\(|Warning|None", text), text


@pytest.mark.parametrize("number", ["abc", "-1", "1.5", "", "²", "1" * 5000])
@pytest.mark.parametrize("arguments", [("train", "--threads"), ("schedule", "--stages")])
def test_what_is_no_number(capsys, arguments, number):
    text = refused(capsys, arguments[0], f"{arguments[1]}={number}")
    assert text.startswith(f"{arguments[1]}: '{number}'; needed: a whole number")


def test_a_second_argument_without_resume(capsys):
    assert refused(capsys, "train", "digits", "some.h5").endswith("to go on from it, add --resume")


def test_a_checkpoint_is_no_job(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = refused(capsys, "train", "some.h5")
    assert "checkpoint" in text and text.endswith("to go on from it, add --resume")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--name", "gpip"), "--name: 'gpip'; needed: a schedule; did you mean 'gpipe'?"),
        (("--stages", "0"), "--stages: 0; needed: 1 to 512"),
        (("--micros", "1000"), "--micros: 1000; needed: 1 to 512"),
        (("--chunks", "2"), "--chunks: 2; needed: at most 1 for 1f1b"),
        (("--times", "1,1"), "--times: '1,1'; needed: 3 numbers from 0 to 1000 with commas between them"),
        (("--times", "0,0,0"), "--times: '0,0,0'; needed: one of them above 0"),
        (("--times", "1,1,nan"), "--times: '1,1,nan'; needed: 3 numbers from 0 to 1000 with commas between them"),
        (("--message", "-1"), "--message: '-1'; needed: a number from 0 to 1000"),
    ],
)
def test_schedules_that_are_none(capsys, arguments, text):
    assert refused(capsys, "schedule", *arguments) == text


MISTAKES = [["train", "--bogus"], ["train", "--threads", "abc"], ["train", "digits", "some.h5"], ["inspect", "no.h5"]]
VARIABLES = [
    {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"},
    {"PMI_RANK": "3"},
    {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda variables: next(iter(variables)))
def test_variables_of_a_launcher_silence_no_mistake(capsys, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for arguments in MISTAKES:
        assert refused(capsys, *arguments)


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda variables: next(iter(variables)))
@pytest.mark.parametrize("arguments", [["schedule"], ["plan", "digits", "--cluster", "shelf.json"]])
def test_what_needs_no_mpi_is_done_by_every_task(desk, variables, arguments):
    desk.write("shelf.json", json.dumps({"hosts": [HOST]}))
    expected = desk.does(*arguments)
    assert expected and desk.does(*arguments, variables=variables) == expected


def test_the_ranks_of_a_launcher_say_a_mistake_once(tmp_path, monkeypatch):
    (tmp_path / str(os.getppid())).mkdir()
    (tmp_path / str(os.getppid()) / "comm").write_text("prterun\n")
    said = []
    for rank in range(4):
        monkeypatch.setenv("OMPI_COMM_WORLD_RANK", str(rank))
        said.append(not launcher.rank_0_says_it(tmp_path))
    assert said == [True, False, False, False]
    monkeypatch.setenv("OMPI_NUM_APP_CTX", "2")  # rank 0 may run another program
    assert not launcher.rank_0_says_it(tmp_path)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("trian",), "there is no command 'trian'; did you mean 'train'?"),
        (("plan", "digits", "--pretned", "x"), "plan has no option --pretned; did you mean '--pretend'?"),
        (("inspect", "a.h5", "--dif=b.h5", "--stat", "--stts"), "has no option --stts; did you mean '--stats'?"),
        (("evaluate", "a.h5", "--resume"), "evaluate has no option --resume; known are --data, --out, --quiet"),
    ],
)
def test_what_may_have_been_meant(capsys, words, text):
    assert text in refused(capsys, *words)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_streams_cannot_show_are_escaped(desk, encoding):
    animals = ["\u732b", "\u72ac", "caf\xe9"]
    text = "a,b,target\n" + "".join(f"{i % 5},{i % 3},{animals[i % 3]}\n" for i in range(60))
    desk.write("animals.csv", text)
    desk.write("animals.toml", JOB.replace("outputs = 10", "outputs = 3").replace('"digits"', '"animals.csv"'))
    desk.train("run", "train.steps=2", job="animals.toml")
    name = "r\xe9sultats-\u732b\udcff.h5"
    (desk.folder / "run" / "checkpoints" / "step-00000002.h5").rename(desk.folder / name)

    def run(*arguments):
        variables = {**environment(), "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "mpipipe", *arguments]
        ended = subprocess.run(command, capture_output=True, cwd=desk.folder, env=variables, timeout=60)
        return ended.returncode, ended.stdout.decode(encoding), ended.stderr.decode(encoding)

    shown = [word.encode(encoding, "backslashreplace").decode(encoding) for word in [*animals, name]]
    status, out, err = run("predict", name, "animals.csv", "--quiet")
    assert (status, err) == (0, "") and out.count("\n") == 61
    assert {line.split(",")[1] for line in out.splitlines()[1:]} <= set(shown)
    status, out, err = run("inspect", name)
    assert (status, err) == (0, "") and shown[-1] in out
    status, out, err = run("inspect", f"no-{name}")
    assert (status, out) == (2, "") and shown[-1] in one_line(err)


def test_a_real_process():
    def run(*arguments):
        command = [sys.executable, "-m", "mpipipe", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)

    shown = run("train", "--help")
    assert (shown.returncode, shown.stderr) == (0, "") and shown.stdout.strip() == MANUAL.strip()
    wrong = run("train", "--bogus")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "--bogus" in one_line(wrong.stderr)


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{mpipipe.__version__}\n"


def test_an_interrupt_outside_of_a_run(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "schedule", interrupted)
    assert cli.main(["schedule"]) == 130
    assert capsys.readouterr() == ("", "mpipipe: interrupted\n")
