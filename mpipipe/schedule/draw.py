"""Schedules as pictures: a text grid and an SVG, both from a simulation. One row a stage, time to the right."""

from xml.sax.saxutils import escape

from mpipipe.schedule.actions import Kind, Schedule
from mpipipe.schedule.check import rooms_of
from mpipipe.schedule.graph import whole_graph
from mpipipe.schedule.lower import lower
from mpipipe.schedule.simulate import Simulation, Span, simulate, wire

COLOURS = {Kind.F: "#4e79a7", Kind.I: "#59a14f", Kind.W: "#f28e2b"}
NAMES = {Kind.F: "F, forward", Kind.I: "I, gradient of the input", Kind.W: "W, gradient of the weights"}


def unit_simulation(schedule: Schedule) -> Simulation:
    """The schedule with F, I and W of one unit each, one worker a stage, messages free, in strict order."""
    whole = whole_graph(lower(schedule), rooms_of(schedule), schedule.micros)
    unit = {Kind.F: 1.0, Kind.I: 1.0, Kind.W: 1.0}
    return simulate(wire(whole), [unit] * schedule.stages, [1] * len(schedule.lanes), strict=True)


def draw_text(schedule: Schedule) -> str:
    """A legend, then a grid with one column a unit of time; a dot is a stage that waits."""
    result = unit_simulation(schedule)
    stages, end = len(schedule.lanes), round(result.end_s)
    grid = [["."] * end for _ in range(stages)]
    for span in result.spans:
        if span.lane < stages and span.action.kind in COLOURS:
            grid[span.lane][round(span.start_s)] = str(span.action)
    width = max(len(cell) for row in grid for cell in row)
    label = len(f"stage {stages - 1}")
    rows = [
        f"{f'stage {s}':<{label}} | {' '.join(cell.ljust(width) for cell in row)} | {schedule.in_flight[s]} in flight"
        for s, row in enumerate(grid)
    ]
    busy, total = sum(result.busy_s[:stages]), stages * result.end_s
    head = f"{schedule.name}: {_sizes(schedule)}; F = I = W = 1 unit, messages free"
    legend = "F forward, I gradient of the input, W gradient of the weights, . waiting; the number is the micro-batch"
    foot = f"{end} units, bubble {(total - busy) / total:.1%} of the whole"
    return "\n".join([head, legend, "", *rows, "", foot])


def draw_svg(schedule: Schedule, result: Simulation | None = None) -> str:
    """The same as an SVG with a legend; any simulation with the same lanes may be given."""
    result = result or unit_simulation(schedule)
    stages = len(schedule.lanes)
    scale, row, left, top = 900 / max(result.end_s, 1e-9), 26, 80, 50
    parts = [_text(left, 20, f"{schedule.name}: {_sizes(schedule)}", 14)]
    for index, kind in enumerate(COLOURS):
        x = left + 210 * index
        parts += [_box(x, 28, 12, 12, COLOURS[kind], NAMES[kind]), _text(x + 18, 38, NAMES[kind], 11)]
    for stage in range(stages):
        y = top + row * stage
        parts.append(_text(8, y + 16, f"stage {stage}", 12))
        parts.append(_box(left, y, 900, row - 4, "#eeeeee", "waiting"))
    for span in result.spans:
        if span.lane < stages and span.action.kind in COLOURS:
            parts += _cell(span.start_s * scale + left, top + row * span.lane, span, scale, row)
    height = top + row * stages + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{height}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _cell(x: float, y: float, span: Span, scale: float, row: int) -> list[str]:
    action, width = span.action, (span.end_s - span.start_s) * scale
    title = f"{action}: {span.start_s:.4g} to {span.end_s:.4g}"
    box = _box(x, y, max(width - 1, 0.5), row - 4, COLOURS[action.kind], title)
    return [box, _text(x + 3, y + 15, str(action.micro), 10, "white")] if width > 14 else [box]


def _sizes(schedule: Schedule) -> str:
    stages, micros = len(schedule.lanes), schedule.micros
    return f"{stages} stage{'s' if stages != 1 else ''}, {micros} micro-batch{'es' if micros != 1 else ''}"


def _box(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    shape = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"'
    return f"<rect {shape}><title>{escape(title)}</title></rect>"


def _text(x: float, y: float, text: str, size: int, colour: str = "#222222") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
