"""No step is shorter than the bound: of plans with one stage a rank, and of those with several."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.bound import fractional, lower_bound
from mpipipe.plan.choose import choose
from mpipipe.plan.price import Prices
from mpipipe.plan.problem import StageChoice
from mpipipe.plan.spread import spread
from mpipipe.schedule import SCHEDULES

from .cases import ground, random_problem

seeds = st.integers(0, 10**6)


@given(seeds, st.sampled_from(["interleaved", "zb-v"]), st.integers(2, 3), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_no_way_with_chunks_is_below_the_bound(seed, schedule, hosts, micros):
    """Layers dealt in proportion to speed, and by chance."""
    rng = random.Random(seed)
    layers = rng.randint(2 * hosts, 8)
    prices = Prices(ground(rng, hosts, layers, micros))
    bound_s = lower_bound(prices.problem, True, [hosts])
    placement = SCHEDULES[schedule].place(hosts, 2 * hosts)
    owner = {stage: lane for lane, held in enumerate(placement) for stage in held}
    ways = [spread(prices.problem, range(hosts), placement)]
    for _ in range(4):
        order = rng.sample(range(hosts), hosts)
        edges = [0, *sorted(rng.sample(range(1, layers), 2 * hosts - 1)), layers]
        ways.append(tuple(StageChoice(order[owner[s]], edges[s], edges[s + 1]) for s in range(2 * hosts)))
    for stages in ways:
        priced = prices.of(schedule, stages, (micros,) * len(stages))
        assert priced is None or bound_s <= priced.step_s * (1 + 1e-9)


@given(seeds, st.integers(1, 5), st.integers(1, 8), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_more_to_choose_from_never_has_a_higher_bound(seed, hosts, layers, micros):
    rng = random.Random(seed)
    problem = random_problem(rng, hosts, layers, micros, rng.choice((None, 1.0)))
    most = min(hosts, layers)
    exactly, any_number = lower_bound(problem, False, [most]), lower_bound(problem, False, range(1, most + 1))
    fine = 1 + 2e-4
    assert any_number <= exactly * fine
    assert lower_bound(problem, True, [most]) <= exactly * fine
    assert lower_bound(problem, True, range(1, most + 1)) <= any_number * fine


def test_one_host_has_nothing_to_wait_for():
    """The bound is the step, but for what every task costs besides its work."""
    for seed in range(20):
        prices = Prices(ground(random.Random(seed), 1, 4, 3))
        found = choose(prices, Allowed((1,), ("1f1b",), 3))
        if found is not None and int(prices.problem.threads[0]) == 1:
            again = found.stages[0].recompute * 3 * float(prices.problem.forward_s.sum())
            assert found.step_s - again == approx(lower_bound(prices.problem, False, [1]), rel=0.01)


@given(seeds, st.integers(1, 5), st.integers(1, 8))
def test_divisible_layers_take_no_longer_than_any_that_are_not(seed, hosts, layers):
    """And where all layers are alike to every host, as long as the speeds added up say."""
    rng = np.random.default_rng(seed)
    busy = rng.uniform(0.1, 2, (hosts, layers))
    dealt = rng.integers(0, hosts, layers)
    loads = np.bincount(dealt, busy[dealt, range(layers)])
    assert fractional(busy) <= loads.max() * (1 + 1e-9)
    speeds, works = rng.uniform(0.5, 4, hosts), rng.uniform(0.1, 2, layers)
    assert fractional(works / speeds[:, None]) == approx(works.sum() / speeds.sum())
