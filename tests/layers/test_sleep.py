"""A sleeping layer takes as long as it says, alone or beside others; impossible times are refused by name."""

import math
import threading
from pathlib import Path

import pytest
from virtual_time import VirtualTime

from mpipipe.clock import REAL_CLOCK
from mpipipe.errors import ShapeError
from mpipipe.job import ModelSettings, TrainSettings, read_job
from mpipipe.layers import Scratch, Work, build_model, layer_costs

from .harness import build, make_run

TABLE = {"kind": "sleep", "forward_s": 0.01, "input_s": 0.02, "weight_s": 0.005}


def seconds(clock, action):
    began = clock.now()
    action()
    return clock.now() - began


def test_each_action_takes_its_seconds_a_sample():
    clock = VirtualTime(1).clock
    run = make_run(build(TABLE), (5,), rows=3, scratch=Scratch(clock))
    assert seconds(clock, run.forward) == pytest.approx(0.03)
    assert seconds(clock, run.grad_input) == pytest.approx(0.06)
    assert seconds(clock, run.grad_weight) == pytest.approx(0.015)


def test_by_the_real_clock_it_never_takes_less():
    run = make_run(build(TABLE), (5,), rows=3)
    assert seconds(REAL_CLOCK, run.forward) >= 0.03


def test_nine_of_them_sleep_at_once():
    virtual = VirtualTime(9)
    runs = [make_run(build(TABLE), (5,), rows=10, scratch=Scratch(virtual.clock)) for _ in range(9)]
    threads = [threading.Thread(target=lambda run=run: (run.forward(), virtual.leave())) for run in runs]
    for act in (*(thread.start for thread in threads), *(thread.join for thread in threads)):
        act()
    assert virtual.now_s == pytest.approx(100.1)


def test_the_planner_is_told():
    model = build_model(ModelSettings(layers=(TABLE,), loss="mean_squared_error"), (5,))
    (cost,) = layer_costs(model, TrainSettings(micro_batch=4))
    assert cost.forward.seconds == pytest.approx(0.04)
    assert cost.grad_weight.seconds == pytest.approx(0.02)
    assert Work(1, 2, 3) + Work(10, 20, 30) == Work(11, 22, 33)


def test_the_shipped_job_has_twenty_of_them():
    job = read_job(str(Path(__file__).parents[2] / "jobs" / "sleepers.toml"))
    model = build_model(job.model, (64,))
    assert sum(layer.kind == "sleep" for layer in model.layers) == 20


@pytest.mark.parametrize("key", ["forward_s", "input_s", "weight_s"])
@pytest.mark.parametrize("value", [-1e-9, 3601.0, math.inf, math.nan])
def test_impossible_times_are_refused(key, value):
    layer = type(build(TABLE))(**{key: value})
    with pytest.raises(ShapeError, match=f"sleep.{key}.*seconds from 0 to 3600"):
        layer.output_shape((5,))


def test_a_sample_without_axes_is_refused():
    with pytest.raises(ShapeError, match="at least one axis"):
        build(TABLE).output_shape(())
