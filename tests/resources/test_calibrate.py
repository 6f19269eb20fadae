import itertools
import time

import pytest
from threadpoolctl import threadpool_limits

from mpipipe.resources import calibrate
from mpipipe.resources.calibrate import Rates, measure_rates


def test_rates_are_those_of_a_computer_and_quick():
    start = time.perf_counter()
    with threadpool_limits(1):
        rates = measure_rates(0.02)
    assert time.perf_counter() - start < 1
    assert 1e7 < rates.matrix_flops < 1e13
    assert 1e7 < rates.elements < 1e12


def test_rate_is_all_work_over_all_time(monkeypatch):
    ticks = iter([0.0, 1.0, 2.0, 9.0, 10.0])
    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: next(ticks))
    calls = []
    # The third of four calls takes 7 s of the 10: a pause between calls counts.
    assert calibrate._repeat(lambda: calls.append(1), 10.0) == pytest.approx(0.4)
    assert len(calls) == 4


def test_flop_and_elements_are_counted(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: float(next(ticks)))
    assert measure_rates(1.0) == Rates(2.0 * 64 * 1024 * 1024, 3.0 * 2**18)
