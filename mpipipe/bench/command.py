"""The command `bench`, told once: the models, who competes, that all compute the same, the rounds, what came out."""

import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from mpipipe.bench.contest import Contestant
from mpipipe.bench.contestants import ceiling_entry, find_mpirun, mpipipe_entries, torch_entries, without_torch
from mpipipe.bench.figures import Bench, Machine, Result, close, sum_up
from mpipipe.bench.isa import VARIABLES, isa_environment, numpy_isa
from mpipipe.bench.kit import step_flops, write_kit
from mpipipe.bench.models import BenchModel, find_models
from mpipipe.bench.progress import Progress
from mpipipe.bench.rounds import Contest
from mpipipe.bench.table import (
    closing_table,
    closing_text,
    failures_text,
    machine_text,
    result_table,
    result_text,
    used_text,
)
from mpipipe.errors import InterruptedRunError, UserError
from mpipipe.launcher import launched_size, under_open_mpi
from mpipipe.report import show, write_json
from mpipipe.resources import usable_threads
from mpipipe.resources.facts import cpu_model

CONTESTANTS = 7
"""Three of mpipipe, three of PyTorch, the ceiling."""


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
    """The whole command; the exit status, 1 where one of mpipipe's own contestants failed."""
    if launched_size()[1] > 1 or under_open_mpi():
        raise UserError("bench", "started by mpirun", "started by hand: it starts ranks of its own")
    models = find_models(list(request.models))
    ranks = _ranks(request, models)
    _check(request)
    held = isa_environment(request.isa)
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(held)
    mpirun = find_mpirun()
    flops = {model.name: step_flops(model) for model in models}  # a model that cannot be built is found before any work
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    measured = Bench(_machine(request, ranks), ())
    show(machine_text(measured.machine))
    progress = Progress(len(models) * CONTESTANTS, len(models) * request.rounds, CONTESTANTS, request.quiet)
    try:
        for model in models:
            result = contest(model, flops[model.name], ranks, mpirun, request, progress)
            progress.clear()
            _show_result(result, measured.results[-1:])
            measured = replace(
                measured, results=(*measured.results, result), closing=(*measured.closing, close(result))
            )
            if request.save:
                write_json(Path(request.save), measured)
    except KeyboardInterrupt:
        progress.clear()
        raise InterruptedRunError(_interrupted(model.name, measured, request.save)) from None
    show(f"\n{closing_text(measured.machine)}")
    show(closing_table(measured.closing))
    return status(measured.results)


def contest(
    model: BenchModel,
    flops: float,
    ranks: int,
    mpirun: str,
    request: BenchRequest,
    progress: Progress,
    with_torch: bool = True,
) -> Result:
    """One model, from the draw of its weights to its result. A contestant that fails is part of the result."""
    with tempfile.TemporaryDirectory() as place, Contest(model.name, progress) as field:
        folder = Path(place)
        write_kit(folder, model)
        for entry in mpipipe_entries(folder, ranks, model.micros, mpirun):
            field.enter(entry)
        cuts = _cuts(field.running, ranks)
        for entry in torch_entries(folder, ranks, model.micros, cuts or []) if with_torch else ():
            reason = without_torch()
            if cuts is None and entry.stages == ranks > 1:
                reason = reason or "its cuts are those of mpipipe's ranks, which failed"
            if reason:
                field.leave_out(entry, reason)
            else:
                field.enter(entry)
        kernels = [one.facts["kernel"] for one in field.running if "kernel" in one.facts]
        field.enter(ceiling_entry(ranks, kernels[0] if kernels else ""))
        field.run_rounds(request.rounds, request.steps or 0)
        return sum_up(model, flops, ranks, cuts or [], field.running, field.failures)


def status(results: Sequence[Result]) -> int:
    """1 where one of mpipipe's own contestants failed, else 0."""
    return int(any(failure.side == "mpipipe" for result in results for failure in result.failures))


def _cuts(running: Sequence[Contestant], ranks: int) -> list[int] | None:
    """Where mpipipe's ranks cut the model; None if they failed."""
    found = [one.facts["cuts"] for one in running if one.entry.side == "mpipipe" and one.entry.stages == ranks]
    return found[0] if found else None


def _show_result(result: Result, before: Sequence[Result]) -> None:
    """Print a model's table; libraries only where they are not the same as before."""
    libraries = used_text(result)
    if libraries and libraries not in map(used_text, before):
        show(libraries)
    show(f"\n{result_text(result)}")
    show(result_table(result))
    if result.failures:
        show(failures_text(result))


def _interrupted(model: str, measured: Bench, save: str | None) -> str:
    done = ", ".join(result.model for result in measured.results)
    kept = f"; {done} had been measured" + (f" and is kept in {save}" if save else "") if done else ""
    return f"bench: interrupted while measuring {model}{kept}"


def _end(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt  # so that contestants are ended too


def _machine(request: BenchRequest, ranks: int) -> Machine:
    instructions = "AVX2" if request.isa else numpy_isa()
    return Machine(cpu_model(), usable_threads(), ranks, request.isa or "", instructions)


def _check(request: BenchRequest) -> None:
    if request.rounds < 1:
        raise UserError("--rounds", f"{request.rounds}", "1 or more")
    if request.steps == 0:
        raise UserError("--steps", "0", "1 or more")
    if request.save and not os.access(Path(request.save).absolute().parent, os.W_OK):
        raise UserError("--save", request.save, "a file in a folder that is there and can be written")


def _ranks(request: BenchRequest, models: list[BenchModel]) -> int:
    cores, micros = usable_threads(), min(model.micros for model in models)
    most = min(cores, micros)
    ranks = min(2, most) if request.ranks is None else request.ranks
    if not 1 <= ranks <= most:
        why = f"this machine has {cores} for them" if most == cores else f"a batch has {micros} micro-batches"
        raise UserError("--ranks", f"{ranks}", f"from 1 to {most}: {why}")
    return ranks
