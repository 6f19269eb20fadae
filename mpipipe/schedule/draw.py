"""Schedules as pictures: a text grid and an SVG, both from a simulation. One row a rank, time to the right."""

from math import floor, log10
from xml.sax.saxutils import escape

from mpipipe.schedule.actions import Kind, Schedule
from mpipipe.schedule.simulate import Simulation, Span
from mpipipe.schedule.units import Units, simulate_units

COLOURS = {Kind.F: "#4e79a7", Kind.I: "#59a14f", Kind.W: "#f28e2b"}
NAMES = {Kind.F: "F, forward", Kind.I: "I, gradient of the input", Kind.W: "W, gradient of the weights"}
WIDTH, ROW, LEFT, TOP = 900, 26, 80, 50


def draw_text(schedule: Schedule, units: Units | None = None) -> str:
    """A legend, then a grid; what takes several columns goes on with dashes."""
    units = units or Units()
    result, step = simulate_units(schedule, units), units.step
    lanes, columns = len(schedule.lanes), round(result.end_s / step)
    grid = [["."] * columns for _ in range(lanes)]
    for span in _tasks(schedule, result):
        first, last = round(span.start_s / step), round(span.end_s / step)
        grid[span.lane][first:last] = [str(span.action), *["-"] * (last - first - 1)][: last - first]
    width = max(len(cell) for row in grid for cell in row) if columns else 0
    label = len(f"rank {lanes - 1}")
    rows = [
        f"{f'rank {lane}':<{label}} | {' '.join(cell.ljust(width) for cell in row)} | {_flying(schedule, lane)}"
        for lane, row in enumerate(grid)
    ]
    busy, total = sum(result.busy_s[:lanes]), lanes * result.end_s
    bubble = f"bubble {(total - busy) / total:.1%} of the time, or {(total - busy) / busy:.1%} of the work"
    head = f"{schedule.name}: {_sizes(schedule)}; {result.end_s:g} units, {bubble}; {units}"
    legend = "F forward, I gradient of the input, W gradient of the weights, . waiting; the number is the micro-batch"
    if any(len(held) > 1 for held in schedule.placement):
        legend += ",\nthe one behind its dot the rank's chunk, if it is not the first"
    if any("-" in row for row in grid):
        legend += "; - going on"
    return "\n".join([head, legend, "", *rows])


def draw_svg(schedule: Schedule, result: Simulation | None = None, unit: str = "units") -> str:
    """The same as an SVG with a legend; any simulation with the same lanes may be given. `unit` is that of its time."""
    result = result or simulate_units(schedule)
    lanes = len(schedule.lanes)
    scale = WIDTH / max(result.end_s, 1e-9)
    parts = [text(LEFT, 20, f"{schedule.name}: {_sizes(schedule)}", 14), *_legend(schedule)]
    for lane in range(lanes):
        y = TOP + ROW * lane
        parts.append(text(8, y + 16, f"rank {lane}", 12))
        parts.append(box(LEFT, y, WIDTH, ROW - 4, "#eeeeee", "waiting"))
    for span in _tasks(schedule, result):
        parts += _cell(span, schedule.placement[span.lane][span.action.chunk], scale)
    bottom = TOP + ROW * lanes
    parts += axis(result.end_s, scale, bottom, unit)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{bottom + 30}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _tasks(schedule: Schedule, result: Simulation) -> list[Span]:
    return [span for span in result.spans if span.lane < len(schedule.lanes) and span.action.kind in COLOURS]


def _flying(schedule: Schedule, lane: int) -> str:
    limits = [schedule.in_flight[stage] for stage in schedule.placement[lane]]
    return f"{' + '.join(map(str, limits))} in flight"


def _legend(schedule: Schedule) -> list[str]:
    parts = []
    for index, kind in enumerate(COLOURS):
        x = LEFT + 210 * index
        parts += [box(x, 28, 12, 12, COLOURS[kind], NAMES[kind]), text(x + 18, 38, NAMES[kind], 11)]
    if max(map(len, schedule.placement)) > 1:
        parts.append(text(LEFT + 630, 38, "lighter: the rank's further chunks", 11))
    return parts


def axis(end_s: float, scale: float, y: float, unit: str, width: float = WIDTH) -> list[str]:
    """Up to ten round numbers below a line."""
    decade = 10.0 ** floor(log10(max(end_s, 1e-9) / 10))
    step = next(decade * factor for factor in (1, 2, 5, 10) if end_s <= 10 * decade * factor + 1e-12)
    parts = [f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + width}" y2="{y}" stroke="#888888"/>', text(8, y + 16, unit, 10)]
    for tick in range(int(end_s / step + 1e-9) + 1):
        x = LEFT + tick * step * scale
        parts.append(f'<line x1="{x:.2f}" y1="{y}" x2="{x:.2f}" y2="{y + 4}" stroke="#888888"/>')
        parts.append(text(x - 4, y + 16, f"{tick * step:g}", 10))
    return parts


def _cell(span: Span, stage: int, scale: float) -> list[str]:
    action, width = span.action, (span.end_s - span.start_s) * scale
    x, y, opacity = span.start_s * scale + LEFT, TOP + ROW * span.lane, 1 if not action.chunk else 0.6
    title = f"{action}: {span.start_s:.4g} to {span.end_s:.4g}, stage {stage}"
    shape = box(x, y, max(width - 1, 0.5), ROW - 4, COLOURS[action.kind], title, opacity)
    return [shape, text(x + 3, y + 15, str(action.micro), 10, "white")] if width > 14 else [shape]


def _sizes(schedule: Schedule) -> str:
    counts = [(schedule.stages, "stage", "s"), (schedule.micros, "micro-batch", "es")]
    stages, micros = (f"{count} {name}{plural if count != 1 else ''}" for count, name, plural in counts)
    ranks = len(schedule.lanes)
    return f"{stages}{f' on {ranks} rank' + 's' * (ranks > 1) if schedule.stages > ranks else ''}, {micros}"


def box(x: float, y: float, width: float, height: float, colour: str, title: str, opacity: float = 1) -> str:
    """A rectangle that tells its title when pointed at."""
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"'
    shade = f' fill-opacity="{opacity}"' if opacity < 1 else ""
    return f"<rect {place}{shade}><title>{escape(title)}</title></rect>"


def text(x: float, y: float, words: str, size: int, colour: str = "#222222") -> str:
    """Words from a point on."""
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{colour}">{escape(words)}</text>'
