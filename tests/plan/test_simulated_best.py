"""The plan by simulation against every order of hosts, every cut and every in-flight limit, on random cases.

That finds no way that is faster by more than a hundredth, and none below the bound that is printed with a plan. Of the
cases with up to three hosts, the first tenth are tried, and all 2,000 with --exhaustive, as the two of the large ones
that take longest to try everything for.
"""

import math
import random

import pytest
from effort import usual

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.bound import lower_bound
from mpipipe.plan.choose import choose
from mpipipe.plan.price import Prices
from mpipipe.schedule import SCHEDULES

from .cases import ground
from .simulated import best_dealt, faster_way

CASES = usual(200, 2000)
LARGE = usual((0, 1, 2, 3, 4, 7, 8, 9, 29), (*range(10), 29))
SEVERAL, ANY = 16, 12
PARTS = 2
SLACK = 1.01


def small(rng):
    """Hosts, layers, micro-batches."""
    hosts = rng.choice((1, 2, 2, 2, 3, 3))
    return hosts, rng.randint(hosts, 6), rng.randint(1, 4)


def large(rng):
    hosts = rng.choice((4, 4, 5, 5, 6))
    return hosts, rng.randint(hosts, 10), rng.randint(2, 4)


def check_case(seed, sizes):
    """Whether anything fits."""
    rng = random.Random(seed)
    hosts, layers, micros = sizes(rng)
    prices = Prices(ground(rng, hosts, layers, micros))
    schedule = rng.choice(("1f1b", "1f1b", "gpipe", "zb-h1"))
    counts = (hosts,) if rng.random() < 0.5 else tuple(range(1, hosts + 1))
    found = choose(prices, Allowed(counts, (schedule,), micros))
    if found is None:
        assert faster_way(prices, schedule, counts, micros, math.inf) is None, f"case {seed}: something fits"
        return False
    assert found.schedule == schedule and len(found.stages) in counts
    bound_s = lower_bound(prices.problem, False, counts)
    # What is looked for: the best if it is much better, or anything that the bound denies.
    other = faster_way(prices, schedule, counts, micros, found.step_s / SLACK)
    assert other is None, f"case {seed}, {schedule}: {found} takes {found.step_s / other.step_s:.3f} times {other}"
    assert bound_s <= found.step_s / SLACK or faster_way(prices, schedule, counts, micros, bound_s * (1 - 1e-9)) is None
    return True


@pytest.mark.parametrize("part", range(PARTS))
def test_no_way_is_faster_by_more_than_a_hundredth(part):
    fits = [check_case(seed, small) for seed in range(part, CASES, PARTS)]
    assert 0.7 < sum(fits) / len(fits) < 0.95, "a kind of case is missing"


@pytest.mark.parametrize("part", range(PARTS))
def test_nor_with_up_to_six_hosts_and_ten_layers(part):
    assert sum(check_case(seed, large) for seed in LARGE[part::PARTS]) > 2


@pytest.mark.parametrize("schedule", ["interleaved", "zb-v"])
def test_nor_where_ranks_hold_several_stages(schedule):
    """And what was asked for is what comes, if it fits."""
    fits = 0
    for seed in range(SEVERAL):
        rng = random.Random(seed)
        hosts = rng.choice((2, 2, 3))
        layers, micros = rng.randint(2 * hosts, 7), rng.randint(2, 5)
        prices = Prices(ground(rng, hosts, layers, micros))
        found = choose(prices, Allowed((hosts,), (schedule,), micros))
        other = best_dealt(prices, schedule, (hosts,), micros)
        if other is not None:
            fits += 1
            assert found.schedule == schedule and found.step_s <= SLACK * other.step_s, f"case {seed}"
    assert fits > SEVERAL / 2


def test_nor_with_any_schedule():
    for seed in range(ANY):
        rng = random.Random(seed)
        layers, micros = rng.randint(2, 6), rng.randint(2, 5)
        prices = Prices(ground(rng, 2, layers, micros))
        found = choose(prices, Allowed((1, 2), tuple(SCHEDULES), micros))
        dealt = [best_dealt(prices, name, (2,), micros) for name, one in SCHEDULES.items() if one.chunks > 1]
        if found is None:
            assert not any(dealt)
            continue
        less_s = found.step_s / SLACK
        ways = [faster_way(prices, name, (1, 2), micros, less_s) for name, one in SCHEDULES.items() if one.chunks == 1]
        assert not any(ways), f"case {seed}"
        assert all(one.step_s >= less_s for one in dealt if one is not None), f"case {seed}"
