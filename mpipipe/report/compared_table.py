"""The comparison of a plan with a run as tables, and as one line."""

from contextlib import suppress

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.errors import UserError
from mpipipe.report.compared import Comparison, LinkTimes, Pair, compare_timeline
from mpipipe.report.folder import RunFolder
from mpipipe.report.show import RULED, output_width
from mpipipe.report.tables import WIDE
from mpipipe.report.timeline import read_timeline
from mpipipe.report.units import figures, human_seconds, milliseconds, plural


def comparison_tables(found: Comparison, width: int | None = None) -> RenderableType:
    """Stages, links, the step and its bubble: predicted, measured, and how many times that is.

    Hosts are named where there is room; `width` in columns is that of the output unless given.
    """
    step = found.step
    lines = [
        "plan: as predicted; run: as measured, " + _over(found.steps) + "; ratio: run / plan",
        "F, I, W: of one thread, for a micro-batch; message: since both ends were ready",
        "",
        f"step: {milliseconds(step.predicted)} ms predicted, {milliseconds(step.measured)} ms measured, "
        f"ratio {_ratio(step)} (update not counted)",
        f"bubble: {found.bubble.predicted:.1%} predicted, {found.bubble.measured:.1%} measured",
    ]
    if found.unsure_s:
        lines.insert(2, f"times of different ranks: comparable to {human_seconds(found.unsure_s)} at the worst")
    wide = (output_width() if width is None else width) >= WIDE
    parts: list[RenderableType] = [_stages(found, wide), Text("")]
    if found.links:
        parts += [_links(found.links), Text("")]
    return Group(*parts, *map(Text, lines))


def bubble_lines(folder: RunFolder) -> list[str]:
    """One line for the end of a run; none where no times were kept."""
    with suppress(UserError):
        bubble = compare_timeline(read_timeline(folder.timeline)).bubble
        both = f"{bubble.measured:.1%} measured, {bubble.predicted:.1%} predicted"
        return [f"bubble: {both}; more: python -m mpipipe timeline {folder.path}"]
    return []


def _stages(found: Comparison, wide: bool) -> Table:
    names = [f"{kind}\n{what}" for kind in ("F ms", "I ms", "W ms") for what in ("plan", "run", "ratio")]
    table = _table("stage", "rank", *names, "busy\nplan", "busy\nrun")
    if wide:
        table.add_column("host", overflow="fold")
    for one in found.stages:
        cells = [cell for pair in (one.forward, one.input, one.weight) for cell in _cells(pair)]
        busy = f"{one.busy.predicted:.0%}", f"{one.busy.measured:.0%}"
        table.add_row(str(one.stage), str(one.rank), *cells, *busy, *([one.host] if wide else []))
    return table


def _links(links: tuple[LinkTimes, ...]) -> Table:
    """A line for each two neighbours: the message is as long either way."""
    table = _table("stages", "message\nms plan", "activation\nms run", "ratio", "gradient\nms run", "ratio")
    for ahead, back in zip(links[::2], links[1::2], strict=True):
        names = f"{ahead.sender}, {ahead.receiver}"
        table.add_row(names, *_cells(ahead.seconds), *_cells(back.seconds)[1:])
    return table


def _table(*names: str) -> Table:
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _cells(pair: Pair) -> tuple[str, str, str]:
    return milliseconds(pair.predicted), milliseconds(pair.measured), _ratio(pair)


def _ratio(pair: Pair) -> str:
    return figures(pair.ratio) if pair.predicted else ""


def _over(steps: int) -> str:
    return f"the median of {plural(steps, 'step')}" if steps > 1 else "in one step"
