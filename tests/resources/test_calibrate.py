import itertools

import pytest
from threadpoolctl import threadpool_limits

from mpipipe.resources.calibrate import _repeat, measure_rates


def test_rates_are_those_of_a_computer():
    with threadpool_limits(1):
        rates = measure_rates(0.02)
    assert 0 < rates.matrix_flops < 1e13
    assert 0 < rates.elements < 1e12


def test_a_rate_is_all_work_over_all_cpu_time():
    """Of ten seconds the thread had its core for five, the third of four calls was stopped for long."""
    clock, cpu_clock = iter([0.0, 1.0, 2.0, 9.0, 10.0]), iter([0.0, 1.0, 2.0, 4.0, 5.0])
    calls = []
    assert _repeat(lambda: calls.append(1), 10.0, clock.__next__, cpu_clock.__next__) == pytest.approx(0.8)
    assert len(calls) == 4


def test_flop_and_elements_are_counted_and_the_part_of_a_core():
    """A clock that goes on by one second at each look, and a core for a quarter of them."""
    ticks, cpu_ticks = itertools.count(), itertools.count()
    rates = measure_rates(1.0, lambda: float(next(ticks)), lambda: next(cpu_ticks) / 4)
    assert (rates.matrix_flops, rates.elements) == (4 * 2.0 * 64 * 1024 * 1024, 4 * 3.0 * 2**18)
    assert rates.cpu_share == pytest.approx(0.25)
