"""The results as text and tables. Nothing is printed here."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.bench.figures import Closing, Machine, Ratio, Result, Score
from mpipipe.report.show import RULED
from mpipipe.report.units import figures, human_flops, plural

HEADS = (
    "contestant",
    "ranks x\nthreads",
    "\nms a step",
    "\nsamples/s",
    "x best PyTorch\n(least..most)",
    "of the\nceiling",
)
CLOSING_HEADS = (
    "model",
    "mpipipe,\nsamples/s",
    "PyTorch,\nsamples/s",
    "mpipipe / PyTorch\n(least..most)",
    "[mpipipe / PyTorch's\nwhole batch]",
    "of the\nceiling",
)
CLOSING_NOTE = """\
Rates and ratios are those of the fastest that cut the batch into the same micro-batches.
In square brackets: mpipipe with any cut, PyTorch with the whole batch at once.
Ratios are medians of the ratios of all rounds, with the least and the greatest."""
NOTHING = "-"


def machine_text(machine: Machine) -> str:
    """One line: processor, cores, instructions."""
    held = f"{machine.instructions} (the CPU's best)"
    if machine.isa:
        held = f"{machine.instructions} at most (--isa {machine.isa})"
    return f"{machine.cpu}, {plural(machine.cores, 'core')}; instructions: {held}"


def closing_text(machine: Machine) -> str:
    """The heading of the closing table."""
    count = f"{plural(machine.ranks, 'rank')} or {plural(machine.ranks, 'thread')} each"
    return f"mpipipe and PyTorch, {count}\n{machine_text(machine)}"


def used_text(result: Result) -> str:
    """Who computes with which libraries, as they say themselves: a line for each set of libraries."""
    who: dict[str, list[str]] = {}
    for score in result.scores:
        who.setdefault(_libraries(score), []).append(score.name)
    return "\n".join(f"{_names(result, names)}: {libraries}" for libraries, names in who.items())


def result_text(result: Result) -> str:
    """One line above a table: the model and what the ceiling is made of."""
    micros = plural(-(-result.batch // result.micro_batch), "micro-batch", "es")
    text = f"{result.model}: {plural(result.batch, 'sample')} a step, in {micros} of {result.micro_batch}"
    if result.flops_per_s:
        text += f"; {result.flops / 1e9:.1f} GFLOP in matrix products, which run at {human_flops(result.flops_per_s)}"
    return text


def result_table(result: Result) -> Table:
    """One line a contestant, also for those that failed. Times are medians of the rounds."""
    table = _table(HEADS)
    for score in result.scores:
        table.add_row(*_cells(score, result.best_torch))
    for failure in result.failures:
        table.add_row(failure.name, NOTHING, "failed", *[NOTHING] * (len(HEADS) - 3))
    return table


def failures_text(result: Result) -> str:
    """Why contestants failed: a line for each reason; empty where none did."""
    reasons: dict[str, list[str]] = {}
    for failure in result.failures:
        reasons.setdefault(failure.reason, []).append(failure.name)
    return "\n".join(f"failed: {'; '.join(names)}: {reason}" for reason, names in reasons.items())


def closing_table(closings: Iterable[Closing]) -> RenderableType:
    """One line a model, at most 100 columns."""
    table = _table(CLOSING_HEADS)
    for one in closings:
        freely = f"[{ratio_text(one.freely)}]" if one.freely else NOTHING
        rates = [
            NOTHING if rate is None else figures(rate) for rate in (one.mine_samples_per_s, one.torch_samples_per_s)
        ]
        table.add_row(one.model, *rates, ratio_text(one.ratio) or NOTHING, freely, _percent(one.of_ceiling) or NOTHING)
    return Group(table, Text(CLOSING_NOTE))


def ratio_text(ratio: Ratio | None) -> str:
    """Such as `1.88 (1.80..1.93)`; empty for None."""
    return "" if ratio is None else f"{ratio.median:.2f} ({ratio.least:.2f}..{ratio.most:.2f})"


def _libraries(score: Score) -> str:
    used = score.used
    parts = [f"products by {used.products}" if used.products else "products by a library that does not say its name"]
    parts += [f"the rest by {used.elementwise}"] if used.elementwise else []
    text = "; ".join(parts)
    others = [f"{name} {version}" for name, version in used.versions.items() if version and version not in text]
    return "; ".join([text, *([", ".join(others)] if others else [])])


def _names(result: Result, names: list[str]) -> str:
    """Names of contestants, or of their side where they are all of it."""
    sides = {score.side: [other.name for other in result.scores if other.side == score.side] for score in result.scores}
    whole = {side: all_names for side, all_names in sides.items() if set(all_names) <= set(names)}
    rest = [name for name in names if not any(name in all_names for all_names in whole.values())]
    return "; ".join([*(SIDES[side] for side in whole), *rest])


SIDES = {"mpipipe": "mpipipe", "torch": "PyTorch", "ceiling": "ceiling"}


def _table(heads: tuple[str, ...]) -> Table:
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in heads:
        first = head == heads[0]
        table.add_column(head, justify="left" if first else "right", no_wrap=not first, vertical="bottom")
    return table


def _cells(score: Score, best: str) -> tuple[str, ...]:
    name = f"{score.name} (best PyTorch)" if score.name == best else score.name
    layout = f"{score.used.ranks} x {score.used.threads}"
    times = figures(score.step_s * 1e3), figures(score.samples_per_s)
    return name, layout, *times, ratio_text(score.ratio), _percent(score.of_ceiling)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
