"""A run in time as one SVG: what the plan foretold above, what was measured below, on one axis.

Each rank has a row for every worker thread, and a thin one for the messages that it takes in.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from mpipipe.plan.simulated import simulate_plan
from mpipipe.plan.types import Plan
from mpipipe.report.timeline import BEGAN, CHUNK, ENDED, KIND, KINDS, MICRO, Timeline
from mpipipe.report.units import human_seconds
from mpipipe.schedule import Kind
from mpipipe.schedule.chrome import TraceSpan
from mpipipe.schedule.draw import COLOURS, LEFT, NAMES, axis, box, text

WIDTH, ROW, THIN, GAP, TOP = 1500, 18, 7, 4, 64
MESSAGES = {Kind.RECV_ACT: "#9c755f", Kind.RECV_GRAD: "#b07aa1"}
SENDS = (Kind.SEND_ACT, Kind.SEND_GRAD, Kind.SEND_DATA, Kind.SEND_TARGET)


class Bar(NamedTuple):
    """One action or message of a rank."""

    rank: int
    kind: Kind
    micro: int
    chunk: int
    start_s: float
    end_s: float


def foretold(plan: Plan) -> list[Bar]:
    """The plan's own simulation."""
    lanes = plan.lanes
    return [
        Bar(lanes[span.lane], span.action.kind, span.action.micro, span.action.chunk, span.start_s, span.end_s)
        for span in simulate_plan(plan).spans
        if span.lane < len(lanes)
    ]


def measured(timeline: Timeline, step: int) -> list[Bar]:
    """One step of a run; a message from when both ends were posted, as near as the receiver's row can tell."""
    return [
        Bar(rank, KINDS[int(row[KIND])], int(row[MICRO]), int(row[CHUNK]), float(row[BEGAN]), float(row[ENDED]))
        for rank, rows in timeline.steps[step].items()
        for row in rows
    ]


def trace_spans(bars: Iterable[Bar], what: str, first_rank: int = 0) -> Iterable[TraceSpan]:
    """For a trace file; `what` names the group."""
    for bar in bars:
        if bar.kind in COLOURS or bar.kind in MESSAGES or bar.kind in SENDS:
            track = "worker" if bar.kind in COLOURS else "in" if bar.kind in MESSAGES else "out"
            name = f"{what} {bar.kind}{bar.micro}{f'.{bar.chunk}' if bar.chunk else ''}"
            yield TraceSpan(first_rank + bar.rank, name, what, track, bar.start_s, bar.end_s)


def draw_timeline(timeline: Timeline, step: int) -> str:
    """The SVG."""
    plan, groups = timeline.plan, []
    groups.append(("predicted", foretold(plan)))
    groups.append((f"measured, step {step}", measured(timeline, step)))
    end_s = max(bar.end_s for _, bars in groups for bar in bars if bar.kind in COLOURS)
    scale = WIDTH / max(end_s, 1e-12)
    title = f"{plan.schedule}, {len(plan.stages)} stages on {len(plan.lanes)} ranks, {plan.micros} micro-batches"
    parts, y = [text(LEFT, 20, title, 14), *_legend(plan)], float(TOP)
    for name, bars in groups:
        parts.append(text(8, y + 10, f"{name}: {human_seconds(_last(bars))}", 12))
        y += 18
        for rank in plan.lanes:
            drawn, height = _rank(plan, rank, [bar for bar in bars if bar.rank == rank], scale, y)
            parts += drawn
            y += height
        parts += axis(end_s * 1e3, scale / 1e3, y, "ms", WIDTH)
        y += 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{y}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _last(bars: Sequence[Bar]) -> float:
    return max(bar.end_s for bar in bars if bar.kind in COLOURS)


def _rank(plan: Plan, rank: int, bars: Sequence[Bar], scale: float, y: float) -> tuple[list[str], float]:
    """The rows of one rank, and their height."""
    threads = plan.stages[plan.stages_of(rank)[0]].threads
    parts, ends = [text(8, y + 13, f"rank {rank}", 11)], [0.0] * threads
    for row in range(threads):
        parts.append(box(LEFT, y + row * ROW, WIDTH, ROW - 2, "#eeeeee", "waiting"))
    for bar in sorted((bar for bar in bars if bar.kind in COLOURS), key=lambda bar: bar.start_s):
        row = next((n for n in range(threads) if ends[n] <= bar.start_s), ends.index(min(ends)))
        ends[row] = bar.end_s
        parts += _task(plan, bar, scale, y + row * ROW)
    top = y + threads * ROW
    for bar in bars:
        if bar.kind in MESSAGES and bar.end_s > bar.start_s:
            parts.append(_message(bar, scale, top))
    return parts, threads * ROW + THIN + GAP


def _task(plan: Plan, bar: Bar, scale: float, y: float) -> list[str]:
    x, width = LEFT + bar.start_s * scale, (bar.end_s - bar.start_s) * scale
    stage = plan.stages_of(bar.rank)[bar.chunk]
    title = f"{bar.kind}{bar.micro} of stage {stage}: {bar.start_s * 1e3:.2f} to {bar.end_s * 1e3:.2f} ms"
    shape = box(x, y, max(width - 0.5, 0.5), ROW - 2, COLOURS[bar.kind], title, 0.6 if bar.chunk else 1)
    return [shape, text(x + 2, y + 12, str(bar.micro), 9, "white")] if width > 12 else [shape]


def _message(bar: Bar, scale: float, y: float) -> str:
    """What arrives: the last of its time, a receive being posted long before."""
    x, width = LEFT + bar.start_s * scale, (bar.end_s - bar.start_s) * scale
    title = f"{bar.kind}{bar.micro}: posted {bar.start_s * 1e3:.2f}, there at {bar.end_s * 1e3:.2f} ms"
    return box(x + max(0.0, width - 3), y, min(max(width, 0.5), 3), THIN - 2, MESSAGES[bar.kind], title)


def _legend(plan: Plan) -> list[str]:
    parts, x = [], float(LEFT)
    marks = [(COLOURS[kind], NAMES[kind]) for kind in COLOURS]
    marks += [(MESSAGES[Kind.RECV_ACT], "activation arrives"), (MESSAGES[Kind.RECV_GRAD], "gradient arrives")]
    for colour, name in marks:
        parts += [box(x, 30, 12, 12, colour, name), text(x + 17, 40, escape(name), 11)]
        x += 40 + 7 * len(name)
    if len(plan.stages) > len(plan.lanes):
        parts.append(text(x, 40, "lighter: the rank's further chunks", 11))
    return parts
