"""Records the schedules of 4 ranks and 8 micro-batches, in units of F = I = W = 1, which test_recorded compares.

    python -m tests.schedule.record_schedules

A change that is meant shows as a difference of these files; look at it before you keep it.
"""

from pathlib import Path

from mpipipe.schedule import SCHEDULES, check, schedule_csv, simulate_units, unit_pipeline

HERE = Path(__file__).parent
LANES, MICROS = 4, 8


def recorded(name):
    """Where a schedule is kept, and what it is now."""
    recipe = SCHEDULES[name]
    placement = recipe.place(LANES, LANES * recipe.chunks)
    limits = recipe.limits(LANES * recipe.chunks, MICROS, 0)
    schedule = recipe.make(unit_pipeline(placement, MICROS, limits))
    check(schedule)
    return HERE / f"{name}_{LANES}x{MICROS}.csv", schedule_csv(schedule, simulate_units(schedule))


if __name__ == "__main__":
    for name in SCHEDULES:
        path, text = recorded(name)
        path.write_text(text)
