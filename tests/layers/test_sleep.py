"""A sleeping layer takes as long as it says, alone or beside others; impossible times are refused by name."""

import math
import threading
import time
from pathlib import Path

import pytest

from mpipipe.errors import ShapeError
from mpipipe.job import ModelSettings, TrainSettings, read_job
from mpipipe.layers import Work, build_model, layer_costs

from .harness import build, make_run

TABLE = {"kind": "sleep", "forward_s": 0.01, "input_s": 0.02, "weight_s": 0.005}


def seconds(*actions):
    began = time.perf_counter()
    for action in actions:
        action()
    return time.perf_counter() - began


def test_each_action_takes_its_seconds_a_sample():
    run = make_run(build(TABLE), (5,), rows=3)
    assert 0.03 <= seconds(run.forward) < 0.05
    assert 0.06 <= seconds(run.grad_input) < 0.08
    assert 0.015 <= seconds(run.grad_weight) < 0.035


def test_nine_of_them_sleep_at_once():
    runs = [make_run(build(TABLE), (5,), rows=10) for _ in range(9)]
    threads = [threading.Thread(target=run.forward) for run in runs]
    taken = seconds(*(thread.start for thread in threads), *(thread.join for thread in threads))
    assert 0.1 <= taken < 0.2


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
