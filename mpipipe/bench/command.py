"""The command `bench`, told once: the models, who competes, that all compute the same, the rounds, what came out."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mpipipe.bench.contest import Contestant, Entry, check_losses, run_rounds, stop_all
from mpipipe.bench.contestants import ceiling_entry, check_torch, find_mpirun, mpipipe_entries, torch_entries
from mpipipe.bench.figures import Bench, Machine, Result, sum_up
from mpipipe.bench.isa import VARIABLES, isa_environment
from mpipipe.bench.kit import step_flops, write_kit
from mpipipe.bench.models import BenchModel, find_models
from mpipipe.bench.table import machine_text, result_table, result_text
from mpipipe.errors import UserError
from mpipipe.launcher import launched_size, under_open_mpi
from mpipipe.report import show, write_json
from mpipipe.resources import usable_threads


@dataclass(frozen=True)
class BenchRequest:
    """What the command line asks for. `ranks` None: 2, or 1 on a single core; `steps` None: about 2 s a turn."""

    models: tuple[str, ...] = ()
    ranks: int | None = None
    rounds: int = 5
    steps: int | None = None
    save: str | None = None
    isa: str | None = None
    quiet: bool = False


def bench(request: BenchRequest) -> int:
    """The whole command; the exit status."""
    if launched_size()[1] > 1 or under_open_mpi():
        raise UserError("bench", "started by mpirun", "started by hand: it starts ranks of its own")
    models = find_models(list(request.models))
    ranks = _ranks(request, models)
    if request.rounds < 1:
        raise UserError("--rounds", f"{request.rounds}", "1 or more")
    if request.steps == 0:
        raise UserError("--steps", "0", "1 or more")
    if request.save and not os.access(Path(request.save).absolute().parent, os.W_OK):
        raise UserError("--save", request.save, "a file in a folder that is there and can be written")
    held = isa_environment(request.isa)
    check_torch()
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(held)
    mpirun = find_mpirun()
    flops = {model.name: step_flops(model) for model in models}  # a model that cannot be built is found before any work
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    results: list[Result] = []
    for model in models:
        facts, result = contest(model, flops[model.name], ranks, mpirun, request)
        if not results:
            machine = machine_of(facts, ranks)
            show(machine_text(machine))
        results.append(result)
        show(result_text(result))
        show(result_table(result))
        if request.save:
            write_json(Path(request.save), Bench(machine, tuple(results)))
    return 0


def contest(
    model: BenchModel, flops: float, ranks: int, mpirun: str, request: BenchRequest, with_torch: bool = True
) -> tuple[dict[str, Any], Result]:
    """One model from the draw of its weights to its result; the facts that contestants told. Raises ContestError."""
    with tempfile.TemporaryDirectory() as place, field() as (start, contestants):
        folder = Path(place)
        write_kit(folder, model)
        facts: dict[str, Any] = {}
        for entry in mpipipe_entries(folder, ranks, model.micros, mpirun):
            told = start(entry)
            if entry.stages == ranks or not facts:  # the pipeline's cuts are also those of PyTorch's
                facts = told
        if with_torch:
            for entry in torch_entries(folder, ranks, model.micros, facts["cuts"]):
                facts["torch"] = start(entry)["torch"]
        start(ceiling_entry(ranks, facts["kernel"].partition("/")[0]))
        check_losses(model.name, contestants)
        run_rounds(
            contestants,
            request.rounds,
            request.steps or 0,
            lambda text: show(f"{model.name}: {text}", request.quiet),
        )
        return facts, sum_up(model, flops, ranks, facts["cuts"], contestants)


@contextmanager
def field() -> Iterator[tuple[Any, list[Contestant]]]:
    """A function that starts an entry and waits until it is ready, and those it has started; all end with the block."""
    contestants: list[Contestant] = []

    def start(entry: Entry) -> dict[str, Any]:
        contestants.append(Contestant(entry))
        return contestants[-1].ready()

    try:
        yield start, contestants
    finally:
        stop_all(contestants)


def _end(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt  # so that contestants are ended too


def machine_of(facts: dict[str, Any], ranks: int) -> Machine:
    """Where this ran, from what contestants told."""
    names = {"mpipipe": "mpipipe", "python": "Python", "numpy": "numpy", "torch": "torch"}
    versions = {shown: str(facts.get(key, "")) for key, shown in names.items()}
    blas = f"{facts['blas']} ({facts['kernel']})"
    name, _, version = str(facts["mpi"]).rpartition(" ")
    return Machine(facts["cpu"], usable_threads(), ranks, {**versions, "BLAS": blas, name: version})


def _ranks(request: BenchRequest, models: list[BenchModel]) -> int:
    cores, micros = usable_threads(), min(model.micros for model in models)
    most = min(cores, micros)
    ranks = min(2, most) if request.ranks is None else request.ranks
    if not 1 <= ranks <= most:
        why = f"this machine has {cores} for them" if most == cores else f"a batch has {micros} micro-batches"
        raise UserError("--ranks", f"{ranks}", f"from 1 to {most}: {why}")
    return ranks
