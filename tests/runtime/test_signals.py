"""Signals: one ends the run at once, another only asks, a third does what there is time for."""

import os
import signal

import pytest

from mpipipe.runtime.signals import Signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Times:
    """A clock that is set by hand."""

    def __init__(self):
        self.now_s = 100.0

    def now(self):
        return self.now_s


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def signals(times):
    kept = {number: signal.getsignal(number) for number in (*NUMBERS, signal.SIGCONT)}
    yield Signals(times.now, lambda: True)
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


def test_term_asks_where_something_can_be_saved_and_interrupts_the_second_time(signals, times):
    with signals.saving():
        for _ in range(2):  # as by slurmstepd and srun together
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.stop_asked and signals.terminated
        times.now_s += 2.0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("later_s", "saves"), [(0.3, False), (5.0, True)])
def test_term_of_mpirun_follows_a_cont_and_leaves_no_time_to_save(signals, times, later_s, saves):
    with signals.saving():
        os.kill(os.getpid(), signal.SIGCONT)
        times.now_s += later_s
        if saves:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    assert signals.terminated == saves


def test_term_after_saving_is_over_interrupts(signals):
    with signals.saving():
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
