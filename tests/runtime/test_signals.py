"""Signals: two end the run at once, a third only asks."""

import os
import signal

import pytest

from mpipipe.runtime.signals import Signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture
def signals():
    kept = {number: signal.getsignal(number) for number in NUMBERS}
    yield Signals()
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_usr1_asks_to_stop_and_interrupts_nothing(signals):
    assert not signals.stop_asked
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signals.stop_asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_interrupt_once(signals, number):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    for again in NUMBERS:
        os.kill(os.getpid(), again)
    assert not signals.stop_asked


def test_nothing_disturbs_a_run_that_is_over(signals):
    signals.calm()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    assert not signals.stop_asked
