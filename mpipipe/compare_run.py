"""The `timeline` command: a run next to its plan, as tables, as a picture, as a trace. No MPI."""

from pathlib import Path

from mpipipe.errors import UserError
from mpipipe.report import existing_folder, show, write_text
from mpipipe.report.compared import compare_timeline
from mpipipe.report.compared_table import comparison_tables
from mpipipe.report.timeline import foretold, read_timeline
from mpipipe.report.timeline_picture import draw_timeline, trace_spans
from mpipipe.schedule.chrome import trace_json


def show_timeline(run: str, step: int | None, svg: str | None, trace: str | None) -> int:
    """Print a run's predicted and measured times, and draw its last kept step, or `step`. Raises UserError."""
    folder = existing_folder(run)
    timeline = read_timeline(folder.timeline)
    if step is not None and step not in timeline.steps:
        kept = ", ".join(map(str, timeline.steps))
        raise UserError("--step", f"{step}", "a step whose times were kept", f"these are {kept}")
    show(comparison_tables(compare_timeline(timeline, step)))
    drawn = step if step is not None else max(timeline.steps)
    path = Path(svg) if svg else folder.path / "timeline.svg"
    write_text(path, draw_timeline(timeline, drawn))
    show(f"drawn, step {drawn}: {path}")
    if trace:
        plan, ranks = timeline.plan, timeline.plan.ranks
        run_spans = trace_spans(plan, timeline.steps[drawn], "measured")
        write_text(Path(trace), trace_json([*run_spans, *trace_spans(plan, foretold(plan), "predicted", ranks)]))
        show(f"written for ui.perfetto.dev: {trace}; ranks from {ranks} on are the plan's")
    return 0
