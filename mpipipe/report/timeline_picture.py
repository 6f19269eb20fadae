"""A run in time as one SVG: what the plan foretold above, what was measured below, on one axis.

Each rank has a row for every worker thread, and two thin ones for the activations and gradients that it takes in.
"""

from collections.abc import Iterable, Iterator

from mpipipe.layers import Array
from mpipipe.plan.types import Plan
from mpipipe.report.compared import Message, messages, span_s
from mpipipe.report.timeline import BEGAN, CHUNK, ENDED, KIND, KINDS, MICRO, Rows, Timeline, foretold
from mpipipe.report.units import figures, plural
from mpipipe.schedule.chrome import TraceSpan
from mpipipe.schedule.draw import COLOURS, LEFT, NAMES, axis, box, text

ROW, THIN, GAP, TOP = 18, 5, 6, 64
TASK, NARROWEST, WIDEST = 17, 1100, 8000
"""Pixels for a task of the busiest worker, so that its number can be read; and of the whole page's axis."""
AHEAD, BACK = "#9c755f", "#b07aa1"
FAINT = 0.6
"""Opacity of a rank's further chunks."""


def trace_spans(plan: Plan, rows: Rows, what: str, first_rank: int = 0) -> Iterator[TraceSpan]:
    """A step for a trace file; `what` names the group."""
    for rank, array in rows.items():
        for row in _tasks(array):
            chunk = int(row[CHUNK])
            name = f"{what} {KINDS[int(row[KIND])]}{int(row[MICRO])}{f'.{chunk}' if chunk else ''}"
            yield TraceSpan(first_rank + rank, name, what, "worker", float(row[BEGAN]), float(row[ENDED]))
    for one in messages(plan, rows):
        name = f"{what} {_name(one)}"
        yield TraceSpan(first_rank + plan.stages[one.receiver].rank, name, what, "in", one.ready_s, one.received_s)


def draw_timeline(timeline: Timeline, step: int) -> str:
    """The SVG."""
    plan = timeline.plan
    groups = [("predicted", foretold(plan)), (f"measured, step {step}", timeline.steps[step])]
    end_s = max(span_s(rows) for _, rows in groups)
    width = _width(plan, groups[0][1], end_s)
    scale = width / max(end_s, 1e-12)
    where = f"{plural(len(plan.stages), 'stage')} on {plural(len(plan.lanes), 'rank')}"
    title = f"{plan.schedule}, {where}, {plural(plan.micros, 'micro-batch', 'es')}"
    parts, y = [text(LEFT, 20, title, 14), *_legend(plan)], float(TOP)
    for name, rows in groups:
        parts.append(text(8, y + 10, f"{name}: {figures(span_s(rows) * 1e3)} ms", 12))
        y += 18
        arriving = list(messages(plan, rows))
        for rank in plan.lanes:
            mine = [one for one in arriving if plan.stages[one.receiver].rank == rank]
            drawn, height = _rank(plan, rank, rows[rank], mine, (scale, y, width))
            parts += drawn
            y += height
        parts += axis(end_s * 1e3, scale / 1e3, y, "ms", width)
        y += 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + width + 20}" height="{y}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _width(plan: Plan, predicted: Rows, end_s: float) -> int:
    """Of the axis: tasks that wide, on the worker with most of them in what is predicted."""
    most = max(len(list(_tasks(array))) / _threads(plan, rank) for rank, array in predicted.items())
    return int(min(WIDEST, max(NARROWEST, TASK * most * end_s / max(span_s(predicted), 1e-12))))


def _threads(plan: Plan, rank: int) -> int:
    return plan.stages[plan.stages_of(rank)[0]].threads


def _tasks(array: Array) -> Iterable[Array]:
    """F, I and W in order of their beginning."""
    return sorted((row for row in array if KINDS[int(row[KIND])] in COLOURS), key=lambda row: float(row[BEGAN]))


def _rank(
    plan: Plan, rank: int, array: Array, arriving: Iterable[Message], place: tuple[float, float, int]
) -> tuple[list[str], float]:
    """The rows of one rank, and their height; `place` are pixels a second, from the top, and of the whole width."""
    scale, y, width = place
    threads, held = _threads(plan, rank), plan.stages_of(rank)
    below = f"stage{'s' * (len(held) > 1)} {', '.join(map(str, held))}"
    parts = [text(8, y + 11, f"rank {rank}", 11), text(8, y + 23, below, 9, "#777777")]
    waits = f"rank {rank}, {plan.stages[held[0]].host}: waiting"
    parts += [box(LEFT, y + row * ROW, width, ROW - 2, "#eeeeee", waits) for row in range(threads)]
    ends = [0.0] * threads
    for task in _tasks(array):
        row = next((n for n in range(threads) if ends[n] <= task[BEGAN]), ends.index(min(ends)))
        ends[row] = float(task[ENDED])
        parts += _task(held[int(task[CHUNK])], task, scale, y + row * ROW)
    top = y + threads * ROW
    parts += [_message(plan, one, scale, top) for one in arriving]
    return parts, threads * ROW + 2 * THIN + GAP


def _task(stage: int, task: Array, scale: float, y: float) -> list[str]:
    kind, micro = KINDS[int(task[KIND])], str(int(task[MICRO]))
    began_s, ended_s = float(task[BEGAN]), float(task[ENDED])
    x, width = LEFT + began_s * scale, (ended_s - began_s) * scale
    title = f"{kind}{micro} of stage {stage}: {_from_to(began_s, ended_s)}"
    shape = box(x, y, max(width - 0.5, 0.5), ROW - 2, COLOURS[kind], title, FAINT if task[CHUNK] else 1)
    fits = width > 3 + 5.5 * len(micro)
    return [shape, text(x + 1.5, y + 12, micro, 9, "white")] if fits else [shape]


def _message(plan: Plan, one: Message, scale: float, y: float) -> str:
    ahead = one.receiver > one.sender
    x, width = LEFT + one.ready_s * scale, (one.received_s - one.ready_s) * scale
    title = f"{_name(one)}: {_from_to(one.ready_s, one.received_s)}"
    faint = plan.stages_of(plan.stages[one.receiver].rank)[0] != one.receiver
    place = (x, y + (0 if ahead else THIN), max(width, 1.0), THIN - 1)
    return box(*place, AHEAD if ahead else BACK, title, FAINT if faint else 1)


def _name(one: Message) -> str:
    what = "activation" if one.receiver > one.sender else "gradient"
    return f"{what} {one.micro}, stage {one.sender} to {one.receiver}"


def _from_to(began_s: float, ended_s: float) -> str:
    return f"{began_s * 1e3:.2f} to {ended_s * 1e3:.2f} ms ({(ended_s - began_s) * 1e3:.2f})"


def _legend(plan: Plan) -> list[str]:
    parts, x = [], float(LEFT)
    marks = [(COLOURS[kind], NAMES[kind]) for kind in COLOURS]
    marks += [(AHEAD, "activation on its way here"), (BACK, "gradient on its way here")]
    for colour, name in marks:
        parts += [box(x, 30, 12, 12, colour, name), text(x + 17, 40, name, 11)]
        x += 36 + 6 * len(name)
    if len(plan.stages) > len(plan.lanes):
        parts.append(text(x, 40, "lighter: the rank's further chunks", 11))
    return parts
