"""What is left out unseen is no better: what a way, or limits, are said to take at least is below what they do."""

import math
import random
from itertools import permutations, product

import pytest

from mpipipe.plan.kinds import count_orders, group_hosts, orders_of
from mpipipe.plan.least import by_promise, count_ways, promising_limits
from mpipipe.plan.price import Prices
from mpipipe.schedule import SCHEDULES

from .cases import ground, random_problem

JUST = 1 - 1e-9


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_way_takes_less_than_its_least(name):
    recipe, near = SCHEDULES[name], 0
    for seed in range(40):
        rng = random.Random(seed)
        layers, micros, hosts = rng.randint(4, 6), rng.randint(1, 5), rng.randint(2, 3)
        prices = Prices(ground(rng, hosts, layers, micros))
        every = list(by_promise(prices.problem, (2,), recipe.place, recipe.chunks, math.inf))
        for least_s, stages in rng.sample(every, min(len(every), 10)):
            limits = tuple(rng.randint(1, micros) for _ in stages) if recipe.chunks == 1 else (micros,) * len(stages)
            priced = prices.of(name, stages, limits)
            if priced is not None:
                assert priced.step_s >= least_s * JUST, f"case {seed}: {priced}"
                near += priced.step_s < 1.25 * least_s
    assert near > 20, "the least says little"


def test_ways_come_in_the_order_of_their_promise_and_none_twice():
    problem = random_problem(random.Random(3), 4, 6, 4, twins=0.0)
    recipe = SCHEDULES["1f1b"]
    every = list(by_promise(problem, (2, 3), recipe.place, 1, math.inf))
    assert [least_s for least_s, _ in every] == sorted(least_s for least_s, _ in every)
    assert len({stages for _, stages in every}) == len(every) == count_ways(problem, (2, 3))
    bar_s = every[len(every) // 2][0]
    assert list(by_promise(problem, (2, 3), recipe.place, 1, bar_s)) == [one for one in every if one[0] < bar_s]


@pytest.mark.parametrize("kinds", [((0,), (1,), (2,), (3,)), ((0, 2), (1,), (3,)), ((0, 1, 2, 3),), ((1, 3), (0, 2))])
def test_hosts_of_one_kind_make_one_order(kinds):
    kind_of = {host: k for k, kind in enumerate(kinds) for host in kind}
    for count, number in enumerate(count_orders(kinds, 4)):
        found = [tuple(kind_of[host] for host in order) for order in orders_of(kinds, count)]
        assert len(found) == len(set(found)) == number
        assert set(found) == {tuple(kind_of[host] for host in order) for order in permutations(range(4), count)}


@pytest.mark.parametrize("seed", range(12))
def test_limits_left_out_take_at_least_what_was_to_be_beaten(seed):
    rng = random.Random(seed)
    micros = rng.randint(2, 4)
    prices = Prices(ground(rng, 3, 5, micros))
    every = list(by_promise(prices.problem, (3,), SCHEDULES["1f1b"].place, 1, math.inf))
    for _, stages in every[:6]:
        priced = {limits: prices.of("1f1b", stages, limits) for limits in product(range(1, micros + 1), repeat=3)}
        steps = sorted(one.step_s for one in priced.values() if one is not None)
        for bar_s in steps[:: max(1, len(steps) // 4)]:
            kept = promising_limits(prices.problem, stages, micros, bar_s)
            left_out = (one for limits, one in priced.items() if limits not in kept)
            # Limits above what fits may never be reached: then those that are do as well.
            assert all(one is None or one.step_s >= bar_s * JUST or one.in_flight in kept for one in left_out)


def test_twins_share_their_ways():
    problem = random_problem(random.Random(5), 3, 4, 4, twins=1.0, links="equal")
    assert len(group_hosts(problem)) == 1
    assert count_ways(problem, (3,)) == math.comb(3, 2)
