import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.report.units import (
    faster_text,
    figures,
    human_bytes,
    human_flops,
    human_rate,
    human_seconds,
    milliseconds,
)


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (512, "512 B"),
        (1024, "1.0 KiB"),
        (1023.99 * 2**20, "1.0 GiB"),
        (1.2 * 2**30, "1.2 GiB"),
        (-3 * 2**20, "-3.0 MiB"),
        (5000 * 2**50, "5000.0 PiB"),
    ],
)
def test_human_bytes(size, text):
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0.00 us"),
        (2e-5, "20.0 us"),
        (0.0042, "4.20 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (86399, "1 d 0 h"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_human_seconds(seconds, text):
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    "times, text",
    [(1.5, "50% faster"), (1.006, "1% faster"), (1.004, "not faster"), (1.0, "not faster"), (0.9, "not faster")],
)
def test_a_gain_is_never_none_or_negative(times, text):
    assert faster_text(times) == text


def test_rates():
    assert human_flops(8.52e10) == "85.2 GFLOP/s"
    assert human_rate(3040.6) == "3041 samples/s"
    assert human_rate(0.31, "steps") == "0.31 steps/s"


@given(st.floats(1e-3, 1e9))
def test_figures_are_near_and_have_no_exponent(number):
    text = figures(number)
    assert re.fullmatch(r"\d+(\.\d+)?", text)
    assert float(text) == pytest.approx(number, rel=0.06)


@pytest.mark.parametrize(
    "seconds, text", [(0, "0.00"), (7.7e-6, "0.01"), (4e-4, "0.40"), (0.0123, "12.3"), (2, "2000")]
)
def test_milliseconds_of_a_column(seconds, text):
    assert milliseconds(seconds) == text
