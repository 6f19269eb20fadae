"""The results as text and tables. Nothing is printed here."""

from rich.table import Table

from mpipipe.bench.figures import Machine, Result, Score
from mpipipe.report.show import RULED
from mpipipe.report.units import figures, human_flops, plural

HEADS = ("contestant", "ms a step", "samples/s", "to best PyTorch", "of the ceiling")


def machine_text(machine: Machine) -> str:
    """One line: processor, cores, versions."""
    versions = ", ".join(f"{name} {version}".strip() for name, version in machine.versions.items() if version)
    return f"{machine.cpu}, {plural(machine.cores, 'core')}; {versions}"


def result_text(result: Result) -> str:
    """One line above a table: the model and what the ceiling is made of."""
    micros = plural(-(-result.batch // result.micro_batch), "micro-batch", "es")
    text = f"{result.model}: {plural(result.batch, 'sample')} a step, in {micros} of {result.micro_batch}"
    if result.flops_per_s:
        text += f"; {result.flops / 1e9:.1f} GFLOP in matrix products, which run at {human_flops(result.flops_per_s)}"
    return f"{text}\nEach line is compared with the faster PyTorch of those that cut the batch alike."


def result_table(result: Result) -> Table:
    """One line a contestant. Times are medians of the rounds."""
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in HEADS:
        table.add_column(head, justify="left" if head == HEADS[0] else "right", no_wrap=head != HEADS[0])
    for score in result.scores:
        table.add_row(*_cells(score, result.best_torch))
    return table


def _cells(score: Score, best: str) -> tuple[str, ...]:
    ratio = "" if score.ratio is None else f"{score.ratio:.2f}"
    ceiling = "" if score.of_ceiling is None else f"{score.of_ceiling:.0%}"
    name = f"{score.name} (best PyTorch)" if score.name == best else score.name
    return name, figures(score.step_s * 1e3), figures(score.samples_per_s), ratio, ceiling
