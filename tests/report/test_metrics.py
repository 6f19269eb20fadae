import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import missing

from mpipipe.errors import UserError
from mpipipe.report import MetricsLog, MetricsRow, open_log, read_metrics

from .records import row

numbers = st.floats(allow_nan=False)
rows = st.builds(
    MetricsRow,
    step=st.integers(1, 10**9),
    epoch=st.integers(1, 1000),
    loss=numbers,
    accuracy=st.none() | numbers,
    samples_per_s=numbers,
    learning_rate=numbers,
    gradient_norm=numbers,
    bubble=numbers,
    seconds=numbers,
    validation_loss=st.none() | numbers,
    validation_accuracy=st.none() | numbers,
)


@given(st.lists(rows, max_size=5))
def test_every_bit_comes_back(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("run") / "metrics.csv"
    with open_log(path, 0) as log:
        for one in written:
            log.write(one)
    assert read_metrics(path) == written


def test_a_row_can_be_read_before_the_log_is_closed(tmp_path):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        log.write(row(1))
        assert read_metrics(path) == [row(1)]


def test_numpy_numbers_and_nan_are_written_as_numbers(tmp_path):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        log.write(row(np.int64(1), np.float64(0.1), gradient_norm=np.float32(0.1), seconds=math.nan))
    found = read_metrics(path)[0]
    assert (found.step, found.loss, found.gradient_norm) == (1, 0.1, float(np.float32(0.1)))
    assert math.isnan(found.seconds)


def test_other_programs_can_read_it(tmp_path):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        log.write(row(7, accuracy=None))
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0]["step"] == "7" and found[0]["loss"] == "0.5" and found[0]["accuracy"] == ""


@pytest.mark.parametrize("after, kept", [(0, []), (2, [1, 2]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4])])
def test_a_resumed_log_drops_what_the_checkpoint_does_not_know(tmp_path, after, kept):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        for step in range(1, 5):
            log.write(row(step))
    with open_log(path, after) as log:
        log.write(row(after + 1, 0.25))
    assert read_metrics(path) == [*(row(step) for step in kept), row(after + 1, 0.25)]
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.csv"]


def test_resuming_without_a_log_starts_one(tmp_path):
    open_log(tmp_path / "metrics.csv", 5).close()
    assert read_metrics(tmp_path / "metrics.csv") == []


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        log.write(row(1))
        log.write(row(2))
    path.write_text(path.read_text()[:-9])
    assert read_metrics(path) == [row(1)]
    with open_log(path, 2) as log:
        log.write(row(3))
    assert read_metrics(path) == [row(1), row(3)]


@pytest.mark.parametrize("line", ["1,2", "x" + ",1" * 10, "1,1," + ",1" * 8, "1.5" + ",1" * 10, ""])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.csv"
    with open_log(path, 0) as log:
        log.write(row(1))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=r"metrics.csv, line 3: .*needed: 11 numbers"):
        read_metrics(path)


def test_files_that_are_no_log(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_metrics(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="line 1: 'a,b'; needed: the header 'step,epoch,loss"):
        read_metrics(tmp_path / "other.csv")
    (tmp_path / "empty.csv").touch()
    assert read_metrics(tmp_path / "empty.csv") == []
    with pytest.raises(UserError, match="cannot be written"):
        MetricsLog(tmp_path)


def test_a_full_disk_is_an_error_of_one_line():
    if not Path("/dev/full").exists():
        missing("metrics on a full disk: no /dev/full")
    log = MetricsLog(Path("/dev/full"))
    with pytest.raises(UserError, match="/dev/full: cannot be written"):
        log.write(row(1))
    log.close()


def test_rows_are_plain_records():
    assert replace(row(1), validation_loss=0.5).validation_loss == 0.5
