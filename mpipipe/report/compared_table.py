"""The comparison of a plan with a run as tables."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.report.compared import Comparison, Pair
from mpipipe.report.show import RULED
from mpipipe.report.units import figures, human_seconds, plural


def comparison_tables(found: Comparison) -> RenderableType:
    """Stages, links, and the step: predicted, measured, and how many times that is."""
    stages = _table("stage", "rank", "ms F", "measured", "ratio", "I", "measured", "ratio", "W", "measured", "ratio")
    stages.add_column("busy", justify="right")
    for one in found.stages:
        cells = [cell for pair in (one.forward, one.input, one.weight) for cell in _cells(pair)]
        busy = f"{one.busy.predicted:.0%} {one.busy.measured:.0%}"
        stages.add_row(str(one.stage), str(one.rank), *cells, busy)
    links = _table("from stage", "to", "ms predicted", "measured", "ratio")
    for link in found.links:
        links.add_row(str(link.sender), str(link.receiver), *_cells(link.seconds))
    step, bubble = found.step, found.bubble
    last = (
        f"step: {human_seconds(step.predicted)} predicted, {human_seconds(step.measured)} measured, ratio "
        f"{step.ratio:.2f} (median of {plural(found.steps, 'step')}; updates and reports come after)"
    )
    idle = f"bubble: {bubble.predicted:.1%} predicted, {bubble.measured:.1%} measured"
    parts: list[RenderableType] = [stages, Text(""), links] if found.links else [stages]
    return Group(*parts, Text(last), Text(idle))


def _table(*names: str) -> Table:
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _cells(pair: Pair) -> tuple[str, str, str]:
    ratio = f"{pair.ratio:.2f}" if pair.predicted else ""
    return figures(pair.predicted * 1e3), figures(pair.measured * 1e3), ratio
