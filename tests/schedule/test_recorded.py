import csv

import pytest

from mpipipe.schedule import SCHEDULES

from .record_schedules import HERE, LANES, MICROS, recorded


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_of_4_ranks_and_8_micro_batches(name):
    path, text = recorded(name)
    assert text == path.read_text()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rows_of_a_table(name):
    rows = list(csv.DictReader(recorded(name)[1].splitlines()))
    assert list(rows[0]) == ["lane", "position", "action", "micro", "chunk", "start", "end"]
    assert len(rows) == 3 * LANES * SCHEDULES[name].chunks * MICROS
    for lane in range(LANES):
        mine = [row for row in rows if row["lane"] == str(lane)]
        assert [int(row["position"]) for row in mine] == list(range(len(mine)))
        times = [(float(row["start"]), float(row["end"])) for row in mine]
        assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False))
        assert {end - start for start, end in times} == {1.0}


def test_every_file_is_of_a_schedule():
    assert {path.name for path in HERE.glob("*.csv")} == {f"{name}_{LANES}x{MICROS}.csv" for name in SCHEDULES}
