"""The commands that only look: inspect and schedule. No MPI, no numpy maths of their own."""

from pathlib import Path

from mpipipe.checkpoint import compare, describe
from mpipipe.errors import UserError, nearest
from mpipipe.report import differences_table, entries_table, facts_text, show, write_text
from mpipipe.schedule import SCHEDULES, check, draw_svg, draw_text, straight, unit_pipeline


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
    if not differences:
        show(f"no difference: every array and the position of {path} and {other} are the same, bit for bit")
        return 0
    show(differences_table(differences))
    return 1


def show_schedule(name: str, stages: int, micros: int, in_flight: int, svg: str | None) -> int:
    """Draw a schedule. Raises UserError, or ScheduleError for one that could not run."""
    if name not in SCHEDULES:
        raise UserError("--name", f"'{name}'", "a schedule", nearest(name, SCHEDULES))
    for option, value in (("--stages", stages), ("--micros", micros)):
        if not 1 <= value <= 512:
            raise UserError(option, f"{value}", "1 to 512")
    first = in_flight or stages
    limits = [max(1, first - stage) for stage in range(stages)]
    schedule = SCHEDULES[name].make(unit_pipeline(straight(stages), micros, limits))
    check(schedule)
    if svg:
        write_text(Path(svg), draw_svg(schedule))
    else:
        show(draw_text(schedule))
    return 0
