"""Layers dealt to hosts with several stages each: all of them, in order, and evenly."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.plan.spread import spread
from mpipipe.schedule import SCHEDULES

from .cases import random_problem


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 12), st.sampled_from(["interleaved", "zb-v"]))
def test_every_stage_has_layers_and_the_host_that_the_placement_says(seed, hosts, more, schedule):
    rng = random.Random(seed)
    placement = SCHEDULES[schedule].place(hosts, 2 * hosts)
    problem = random_problem(rng, hosts + 1, 2 * hosts + more, 4)
    order = rng.sample(range(hosts + 1), hosts)
    stages = spread(problem, order, placement)
    held = [layer for stage in stages for layer in range(stage.first, stage.last)]
    assert held == list(range(problem.layers)) and all(stage.first < stage.last for stage in stages)
    for lane, mine in enumerate(placement):
        assert {stages[s].host for s in mine} == {order[lane]}


@pytest.mark.parametrize("schedule", ["interleaved", "zb-v"])
def test_loads_are_even(schedule):
    """With many layers, and hosts that differ in speed, none has a tenth more to do than the mean."""
    for seed in range(20):
        problem = random_problem(random.Random(seed), 3, 120, 4)
        same = [table[0] * np.array([[1.0], [2.5], [0.7]]) for table in (problem.forward_s, problem.input_s)]
        problem = replace(problem, forward_s=same[0], input_s=same[1], weight_s=same[0])
        stages = spread(problem, range(3), SCHEDULES[schedule].place(3, 6))
        busy = (problem.forward_s + problem.input_s + problem.weight_s) / problem.threads[:, None]
        loads = np.zeros(3)
        for stage in stages:
            loads[stage.host] += busy[stage.host, stage.first : stage.last].sum()
        assert loads.max() <= 1.1 * loads.mean()
