"""The commands that only look: inspect and schedule. No MPI, no numpy maths of their own."""

from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.checkpoint import compare, describe, kernels_of
from mpipipe.errors import UserError, nearest
from mpipipe.report import differences_table, entries_table, facts_text, show, write_text
from mpipipe.schedule import (
    SCHEDULES,
    Schedule,
    StageCost,
    Units,
    check,
    draw_svg,
    draw_text,
    schedule_csv,
    simulate_units,
    simulated_spans,
    trace_json,
    unit_pipeline,
)

MOST_COLUMNS = 20_000
"""Of a text grid."""


def show_checkpoint(path: Path, with_stats: bool) -> int:
    """Print the tree. Raises CheckpointError."""
    facts, entries = describe(path, with_stats)
    for line in facts_text(path, facts):
        show(line)
    show(entries_table(entries))
    return 0


def show_differences(path: Path, other: Path) -> int:
    """Print where two checkpoints differ; 1 if they do. Raises CheckpointError."""
    differences = compare(path, other)
    if differences:
        show(differences_table(differences))
    else:
        show(f"no difference: every array and the position of {path} and {other} are the same, bit for bit")
    for file, kernel in zip((path, other), kernels_of(path, other), strict=True):
        show(f"kernel of {file}: {kernel}")
    return 1 if differences else 0


@dataclass(frozen=True)
class Drawing:
    """What the schedule command was asked for. 0 in flight or 0 chunks: as many as the schedule is known for."""

    name: str
    stages: int
    micros: int
    in_flight: int = 0
    chunks: int = 0
    units: Units = Units()
    svg: str | None = None
    trace: str | None = None
    table: str | None = None


def show_schedule(asked: Drawing) -> int:
    """Draw a schedule. Raises UserError, or ScheduleError for one that could not run."""
    schedule = _make_schedule(asked)
    check(schedule)
    result = simulate_units(schedule, asked.units)
    if asked.svg:
        write_text(Path(asked.svg), draw_svg(schedule, result))
    if asked.trace:
        write_text(Path(asked.trace), trace_json(simulated_spans(result, len(schedule.lanes))))
    if asked.table:
        write_text(Path(asked.table), schedule_csv(schedule, result))
    if not (asked.svg or asked.trace or asked.table):
        if result.end_s > MOST_COLUMNS * asked.units.step:
            found = f"times that need a grid of {result.end_s / asked.units.step:.0f} columns"
            raise UserError("--times", found, f"at most {MOST_COLUMNS}", "rounder times, or --svg FILE")
        show(draw_text(schedule, asked.units))
    return 0


def _make_schedule(asked: Drawing) -> Schedule:
    name, lanes, micros = asked.name, asked.stages, asked.micros
    if name not in SCHEDULES:
        raise UserError("--name", f"'{name}'", "a schedule", nearest(name, SCHEDULES))
    recipe, units = SCHEDULES[name], asked.units
    for option, value in (("--stages", lanes), ("--micros", micros)):
        if not 1 <= value <= 512:
            raise UserError(option, f"{value}", "1 to 512")
    if not 0 <= asked.chunks <= recipe.most_chunks:
        raise UserError("--chunks", f"{asked.chunks}", f"at most {recipe.most_chunks} for {name}")
    placement = recipe.place(lanes, lanes * (asked.chunks or recipe.chunks))
    limits = recipe.limits(sum(map(len, placement)), micros, asked.in_flight)
    plain = unit_pipeline(placement, micros, limits)
    costs = (StageCost(units.forward, units.input, units.weight),) * plain.stages
    messages = (units.message,) * (plain.stages - 1)
    return recipe.make(replace(plain, costs=costs, message_s=messages))
