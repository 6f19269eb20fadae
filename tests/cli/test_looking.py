"""The commands that only look, with MPI and without."""

import json
import re
import subprocess
import sys

import numpy as np

from mpipipe.resources.facts import blas_and_kernel

from .running import JOB, environment, newest, settings

WITHOUT = """
import sys
sys.modules["mpi4py"] = None
from mpipipe.cli import main
path = sys.argv[1]
for arguments in (["schedule"], ["inspect", path], ["inspect", path, "--stats"], ["inspect", path, "--diff", path],
                  ["plan", "tiny.toml"], ["timeline", sys.argv[2], "--svg", "run.svg"]):
    assert main(arguments) == 0, arguments
    print("====", flush=True)
assert main(["train", "tiny.toml"]) == 2
"""
UNLOADED = """
import sys
import mpipipe
def loaded():
    return [name for name in sys.modules if name.split(".")[0] == "mpi4py"]
assert not loaded()
from mpipipe.cli import main
for arguments in (["schedule", "--svg", "some.svg"], ["inspect", sys.argv[1]], ["plan", "tiny.toml"],
                  ["timeline", sys.argv[2], "--svg", "run.svg"]):
    assert main(arguments) == 0
    assert not loaded(), arguments
import mpipipe.train, mpipipe.evaluate, mpipipe.predict, mpipipe.probe
assert "mpi4py.MPI" not in sys.modules
"""


def python(program, folder, *arguments):
    (folder / "tiny.toml").write_text(JOB)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(), timeout=60)


def test_where_mpi4py_cannot_be_imported(tmp_path, trained):
    done = python(WITHOUT, tmp_path, newest(trained), trained)
    assert done.returncode == 0, done.stderr
    schedule, tree, stats, difference, plan, times, _ = done.stdout.split("====\n")
    assert "rank 3 |" in schedule and "000_linear/" in tree and "minimum" in stats
    assert difference.startswith("no difference") and "1 stage on 1 rank" in plan
    assert "bubble: " in times
    assert re.fullmatch(r"mpipipe: error: MPI: no MPI library can be loaded \(.*\); .*\n", done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.svg", "tiny.toml"]


def test_looking_loads_no_mpi(tmp_path, trained):
    done = python(UNLOADED, tmp_path, newest(trained), trained)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "some.svg").read_text().startswith("<svg")


def test_the_tree(desk, trained):
    lines = desk.does("inspect", newest(trained)).splitlines()
    assert lines[0] == f"{newest(trained)}: step 4, epoch 0, 512 samples into it; seed 1"
    assert "data digits: samples of shape (64,), scaled by 'standard'" in lines[1]
    assert "mpipipe 0" in lines[2] and "Open MPI" in lines[2] or "MPICH" in lines[2]
    assert f"kernel {blas_and_kernel()[1]}, numpy {np.__version__}, blas {blas_and_kernel()[0]}" in lines[2]
    text = [line.rstrip() for line in lines]
    at = text.index("layers/")
    assert text[at + 1] == "  000_linear/"
    assert re.fullmatch(r"    bias +\(16,\) +float32 +64", text[at + 2])
    assert re.fullmatch(r"    weight +\(64, 16\) +float32 +4,096", text[at + 3])
    assert text[-1].startswith("14 data sets, ")


def test_the_statistics(desk, trained):
    lines = desk.does("inspect", newest(trained), "--stats").splitlines()
    header = next(line for line in lines if line.startswith("data set"))
    assert header.split()[-6:] == ["minimum", "mean", "maximum", "std", "norm", "non-finite"]
    assert re.search(r"weight +\(64, 16\) +float32 +4,096( +-?[\d.e-]+){5} +0", "\n".join(lines))


def test_the_differences(desk, trained):
    first, last = trained / "checkpoints/step-00000002.h5", newest(trained)
    assert desk.does("inspect", last, "--diff", last).startswith("no difference: every array and the position of")
    ended = desk("inspect", first, "--diff", last)
    assert (ended.status, ended.err) == (1, "")
    assert re.search(r"attribute step +2 against 4", ended.out)
    for path in (first, last):
        assert re.search(rf"^kernel of {re.escape(str(path))}: \w+", ended.out, re.MULTILINE)
    assert re.search(r"/layers/000_linear/weight +[\d,]+ of 1,024 elements differ +[\d.e-]+", ended.out)
    assert "/scaling" not in ended.out


def test_pictures_of_schedules(desk):
    out = desk.does("schedule", "--stages", 2, "--micros", 3, "--name", "gpipe")
    assert "rank 1 |" in out and "rank 2 |" not in out and "F2" in out
    assert desk.does("schedule", "--svg", "some.svg", "--in-flight", 1) == ""
    assert (desk.folder / "some.svg").read_text().rstrip().endswith("</svg>")


def test_every_schedule_can_be_drawn(desk):
    for name in ("gpipe", "1f1b", "zb-h1", "interleaved", "zb-v", "list"):
        out = desk.does("schedule", "--name", name, "--stages", 3, "--micros", 5)
        assert out.startswith(f"{name}: ") and "rank 2 |" in out and "% of the time" in out
    out = desk.does("schedule", "--name", "interleaved", "--chunks", 3, "--times", "1,2,0.5", "--message", 0.5)
    assert out.startswith("interleaved: 12 stages on 4 ranks, 8 micro-batches; ")
    assert "F 1, I 2, W 0.5 unit, messages 0.5" in out and "F0.2" in out


def test_files_of_schedules(desk):
    files = ("--svg", "a.svg", "--trace", "b.json", "--csv", "c.csv")
    assert desk.does("schedule", "--name", "zb-v", *files) == ""
    assert (desk.folder / "a.svg").read_text().startswith("<svg")
    assert json.loads((desk.folder / "b.json").read_text())["traceEvents"]
    assert (desk.folder / "c.csv").read_text().startswith("lane,position,action,micro,chunk,start,end\n0,0,F,0,0,0,1\n")


def test_probe(desk):
    out = desk.does("probe")
    assert "GFLOP/s" in out and "MPI" in out
    assert "linear(outputs=512) of 64" in out and "link between" not in out
    assert "linear(outputs=16) of 64, no gradient by its input" in desk.does("probe", "tiny.toml", "--data", "digits")
    assert desk.does("probe", "tiny.toml", *settings("train.micro_batch=8"), "--save", "my.json", "--quiet") == ""
    (host,) = json.loads((desk.folder / "my.json").read_text())["hosts"]
    assert [times["micro_batch"] for times in host["layers"]] == [8, 8, 8]
    assert not (desk.folder / "results").exists()
    refused = desk.refuses("plan", "tiny.toml", "--cluster", "my.json", "--save", "./my.json")
    assert refused == "--save: ./my.json, which is the cluster file; needed: another file for the plan"
    assert desk.refuses("plan", "tiny.toml", "--cluster", "").startswith("--cluster: an empty name")
    assert desk.refuses("probe", "tiny.toml", "--data", "digit").startswith("data: no such file")
    (desk.folder / "results").mkdir()
    desk.does("plan", "tiny.toml", "--quiet")
    assert len(json.loads((desk.folder / "results/calibration.json").read_text())["records"]) == 1
    assert desk.does("plan", "tiny.toml", "--quiet", *settings("train.batch=96")).count("\n") > 3
