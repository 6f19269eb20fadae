"""Hosts of one kind can stand for each other, and multisets of kinds are all there are."""

import math
import random
from dataclasses import replace

import numpy as np
from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.plan.closed import LIMITED, at_most
from mpipipe.plan.kinds import count_states, group_hosts, multisets, one_order
from mpipipe.plan.search import best

from .cases import random_problem

seeds = st.integers(0, 10**6)


@given(seeds, st.integers(1, 6), st.sampled_from(["equal", "unequal"]))
@settings(max_examples=usual(40, 100), deadline=None)
def test_two_hosts_of_a_kind_may_change_places(seed, hosts, links):
    rng = random.Random(seed)
    problem = random_problem(rng, hosts, 7, 4, rng.choice((None, 0.7)), links, twins=0.6)
    kinds = group_hosts(problem)
    assert sorted(host for kind in kinds for host in kind) == list(range(hosts))
    choice = best(problem, LIMITED, range(1, hosts + 1))
    for kind in kinds:
        if choice is None or len(kind) < 2:
            continue
        a, b = kind[0], kind[-1]
        swapped = tuple(replace(one, host={a: b, b: a}.get(one.host, one.host)) for one in choice.stages)
        other = at_most(problem, swapped, LIMITED)
        assert other is not None and math.isclose(other.seconds, choice.seconds, rel_tol=1e-12)


def test_equal_hosts_on_equal_links_are_one_kind():
    problem = random_problem(random.Random(1), 4, 3, 2, links="equal", twins=1.0)
    assert group_hosts(problem) == ((0, 1, 2, 3),)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(1, 12))
def test_all_multisets_level_by_level(sizes, most):
    levels = multisets(sizes, most)
    assert len(levels) == min(most, sum(sizes)) + 1
    seen = {tuple(row) for level in levels for row in level.counts.tolist()}
    assert len(seen) == sum(len(level.counts) for level in levels)
    assert most < sum(sizes) or len(seen) == count_states(sizes)
    for n, level in enumerate(levels):
        assert (level.counts.sum(axis=1) == n).all() and (level.counts <= sizes).all()
        for u, (here, before) in enumerate(level.before):
            assert here.tolist() == np.nonzero(level.counts[:, u])[0].tolist()
            one = np.eye(len(sizes), dtype=int)[u]
            if n:
                assert (level.counts[here] - one == levels[n - 1].counts[before]).all()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_one_order_is_a_chain_from_the_last_stage(order):
    levels = one_order(order, 3)
    assert [len(level.counts) for level in levels] == [1] * (len(order) + 1)
    for kind, level, before in zip(reversed(order), levels[1:], levels, strict=False):
        assert (level.counts - before.counts == np.eye(3, dtype=int)[kind]).all()
