import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import build_model, forward_only, layer_costs
from mpipipe.plan.predict import Limits, message_seconds, seconds, stage_bytes, stage_seconds, total_up, update_seconds
from mpipipe.runtime.share import Share
from mpipipe.runtime.stage import Stage

from .cases import equal_layers, host, layers, random_host


@given(st.integers(0, 10**6), st.integers(1, 12), st.data())
def test_a_stage_is_the_sum_of_its_layers(seed, count, data):
    rng = random.Random(seed)
    costs, one = layers(rng, count), random_host(rng, 0)
    totals = total_up(costs)
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first + 1, count))
    limits = Limits(rng.randint(1, 9), rng.randint(1, 5))
    inside = costs[first:last]
    works = [work for cost in inside for work in (cost.forward, cost.grad_input, cost.grad_weight)]
    assert totals.layers == count
    assert stage_seconds(totals, first, last, one) == approx(sum(seconds(work, one) for work in works) / one.threads)
    assert stage_bytes(totals, first, last, limits, 3) == (
        sum(cost.weight_bytes + cost.gradient_bytes + cost.state_bytes for cost in inside)
        + limits.in_flight * (inside[0].input_bytes + sum(cost.saved_bytes for cost in inside))
        + limits.gradients * (inside[0].input_bytes + sum(cost.held_bytes for cost in inside))
        + 3 * max(cost.scratch_bytes for cost in inside)
    )


MODEL = (
    {"kind": "flatten"},
    {"kind": "linear", "outputs": 12},
    {"kind": "gelu"},
    {"kind": "residual", "layers": [{"kind": "layernorm"}, {"kind": "linear", "outputs": 12}]},
    {"kind": "dropout", "rate": 0.1},
    {"kind": "linear", "outputs": 5},
)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "none"])
@pytest.mark.parametrize("rows", [1, 7])
def test_foretold_bytes_are_those_that_a_stage_allocates(loss, optimizer, rows):
    """Every cut of a model, scratch apart; targets that wait for the loss are bytes too."""
    model = build_model(ModelSettings(MODEL, loss), (3, 4))
    costs = layer_costs(model, TrainSettings(batch=rows, micro_batch=rows, optimizer=optimizer))
    totals = total_up(costs if optimizer != "none" else forward_only(costs))
    limits = Limits(3, 2)
    for first in range(len(MODEL)):
        for last in range(first + 1, len(MODEL) + 1):
            share = Share(model, first, last, limits.in_flight, limits.gradients, rows, 480, optimizer, 1, False, 1)
            stage = Stage(share)
            foretold = stage_bytes(totals, first, last, limits, threads=0)
            if optimizer == "none":
                assert foretold >= stage.bytes()
            else:
                assert foretold == stage.bytes(), (first, last)


def test_a_message_takes_its_latency_and_its_bytes():
    here, there = host(0, name="mini1"), host(1, name="mini2")
    assert message_seconds(here, there, 117_000_000) == approx(1.0002)
    assert message_seconds(here, host(2, name="mini1"), 3_000_000_000) == approx(1.00003)


def test_the_update_is_that_of_the_slowest_stage():
    totals = total_up(equal_layers(3, weight_bytes=4_000_000))
    fast, slow = host(0, elements=1e9, threads=4), host(1, elements=1e8, threads=2)
    assert update_seconds(totals, [(fast, 0, 2), (slow, 2, 3)]) == approx(12e6 / 1e8 / 2)
    assert update_seconds(totals, [(fast, 0, 3)]) == approx(36e6 / 1e9 / 4)
