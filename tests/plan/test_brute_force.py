"""The search against trying everything, on cases in which everything differs and memory often binds.

All 2,100 cases are tried with --exhaustive; else the first of every size, of which there are enough for every kind.
"""

import math
import random
from dataclasses import replace

import pytest
from effort import usual
from pytest import approx

from mpipipe.plan.closed import at_most
from mpipipe.plan.memory import most_in_flight
from mpipipe.plan.search import best, front

from .cases import random_problem
from .everything import least_seconds

CASES = 2100
PARTS = usual(1, 4)
SIZES = (((1, 4), (1, 7), 90), ((3, 5), (3, 8), 9), ((6, 6), (8, 9), 0.25), ((6, 6), (10, 10), 0.15))
"""Hosts from and to, layers from and to, and how often."""
FIRST = (300, 45, 4, 1)
"""So many of each of these sizes are in the sample."""
MONOTONE = usual(15, 60)


def size_of(rng):
    """An index into SIZES: the first that is drawn of a case."""
    return rng.choices(range(len(SIZES)), [often for _, _, often in SIZES])[0]


def sample():
    """Seeds of the first cases of every size."""
    found = [[] for _ in SIZES]
    for seed in range(CASES):
        found[size_of(random.Random(seed))].append(seed)
    return sorted(seed for seeds, first in zip(found, FIRST, strict=True) for seed in seeds[:first])


def case(seed):
    """A random problem, a family, numbers of stages, and a job's plan.recompute."""
    rng = random.Random(seed)
    hosts, layers, _ = SIZES[size_of(rng)]
    size = rng.randint(*hosts), rng.randint(*layers), rng.randint(1, 12)
    tight, links = rng.choice((None, None, 0.3, 0.5, 0.8, 1.2)), rng.choice(("unequal", "unequal", "equal"))
    problem = random_problem(rng, *size, tight, links)
    most = problem.hosts
    counts = rng.choice((range(1, most + 1), [most], [rng.randint(1, most)]))
    return problem, rng.choice(("all", "limited", "limited")), counts, rng.choice(("auto", "auto", "always", "never"))


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_tried_is_better_and_nothing_is_found_only_where_nothing_fits(part):
    found, nothing, tight, again = 0, 0, 0, 0
    for seed in usual(sample(), range(CASES))[part::PARTS]:
        problem, family, counts, recompute = case(seed)
        least, choice = least_seconds(problem, family, counts, recompute), best(problem, family, counts, recompute)
        if choice is None:
            nothing += 1
            assert math.isinf(least), f"case {seed}: nothing found, where {least} s can be had"
            continue
        check(problem, family, counts, choice)
        assert choice.seconds == approx(least, rel=1e-9), f"case {seed}"
        found += 1
        tight += min(most_in_flight(problem, stage) for stage in choice.stages) < problem.micros
        again += any(stage.recompute for stage in choice.stages)
    assert min(found, nothing, tight, again) > 20, "a kind of case is missing"


def check(problem, family, counts, choice):
    """Every layer once and in order, every host at most once, and the closed form's value."""
    stages = choice.stages
    assert len(stages) in counts
    assert [stage.first for stage in stages] == [0, *(stage.last for stage in stages[:-1])]
    assert stages[-1].last == problem.layers
    assert all(stage.first < stage.last for stage in stages)
    assert len({stage.host for stage in stages}) == len(stages)
    assert choice == at_most(problem, stages, family)


def test_a_front_begins_with_the_best_and_has_only_what_is_close_to_it():
    longest = 0
    for seed in range(60):
        problem, family, counts, recompute = case(seed)
        choices, choice = front(problem, family, counts, recompute), best(problem, family, counts, recompute)
        if choice is None:
            assert choices == ()
            continue
        assert choices[0] == choice
        assert len({one.stages for one in choices}) == len(choices) <= 12
        for one in choices:
            check(problem, family, counts, one)
            assert choice.seconds <= one.seconds <= 1.25 * choice.seconds
        longest = max(longest, len(choices))
    assert longest > 2


def test_more_never_hurts():
    """More room, more numbers of stages to choose from, or recomputing where one likes."""
    for seed in range(MONOTONE):
        problem, family, _, _ = case(seed)
        hosts = range(1, problem.hosts + 1)
        whole = seconds(problem, family, hosts, "auto")
        for policy in ("never", "always"):
            assert whole <= seconds(problem, family, hosts, policy) * (1 + 1e-9)
        assert whole <= min(seconds(problem, family, [count], "auto") for count in hosts) * (1 + 1e-9)
        wider = replace(problem, room_bytes=2 * problem.room_bytes)
        assert seconds(wider, family, hosts, "auto") <= whole * (1 + 1e-9)


def seconds(problem, family, counts, recompute):
    choice = best(problem, family, counts, recompute)
    return choice.seconds if choice else math.inf
