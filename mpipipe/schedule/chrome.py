"""Timelines as JSON in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Knows nothing of schedules but simulations: measured timelines are written by the same function. Spans of one track that
overlap, as those of several workers do, get rows of their own.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mpipipe.schedule.simulate import Simulation
from mpipipe.schedule.wiring import SENDS


class TraceSpan(NamedTuple):
    """Something that a rank did: on `track` ("worker", "in" or "out"), from `start_s` to `end_s`."""

    rank: int
    name: str
    category: str
    track: str
    start_s: float
    end_s: float


def trace_json(spans: Iterable[tuple[int, str, str, str, float, float]]) -> str:
    """One process a rank, one thread a row of each of its tracks, microseconds."""
    rows: dict[tuple[int, str], list[float]] = {}
    events: list[tuple[int, str, int, dict[str, object]]] = []
    for span in sorted((TraceSpan(*span) for span in spans), key=lambda span: (span.start_s, span.end_s)):
        ends = rows.setdefault((span.rank, span.track), [])
        row = next((row for row, end_s in enumerate(ends) if end_s <= span.start_s), len(ends))
        ends[row : row + 1] = [span.end_s]
        times = {"ts": span.start_s * 1e6, "dur": (span.end_s - span.start_s) * 1e6}
        events.append((span.rank, span.track, row, {"name": span.name, "cat": span.category, "ph": "X", **times}))
    threads = [(rank, track, row) for (rank, track), ends in rows.items() for row in range(len(ends))]
    order = {"worker": 0, "in": 1, "out": 2}
    threads.sort(key=lambda thread: (thread[0], order.get(thread[1], 3), thread[1:]))
    number = {thread: tid for tid, thread in enumerate(threads)}
    named: list[dict[str, object]] = [
        {"name": "process_name", "ph": "M", "pid": rank, "tid": 0, "args": {"name": f"rank {rank}"}}
        for rank in sorted({rank for rank, _ in rows})
    ]
    for (rank, track, row), tid in number.items():
        name = f"{track} {row + 1}" if row else track
        named.append({"name": "thread_name", "ph": "M", "pid": rank, "tid": tid, "args": {"name": name}})
    found = [{**event, "pid": rank, "tid": number[rank, track, row]} for rank, track, row, event in events]
    return json.dumps({"traceEvents": named + found, "displayTimeUnit": "ms"}) + "\n"


def simulated_spans(result: Simulation, lanes: int) -> Iterator[TraceSpan]:
    """What the ranks do in a simulation; a message that takes no time is left out."""
    for span in result.spans:
        task = span.action.kind in ("F", "I", "W")
        if span.lane < lanes and (task or span.end_s > span.start_s):
            track = "worker" if task else "out" if span.action.kind in SENDS else "in"
            yield TraceSpan(span.lane, str(span.action), span.action.kind, track, span.start_s, span.end_s)
