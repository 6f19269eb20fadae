"""The search against trying everything: all orders of all choices of hosts, and all cuts."""

import itertools
import math
import random
from dataclasses import replace

import pytest
from pytest import approx

from mpipipe.layers import Work
from mpipipe.plan.partition import assign_ranks, group_hosts, partition
from mpipipe.plan.predict import Limits, stage_bytes, stage_seconds, total_up

from .cases import alike, equal_layers, host, layers, random_cluster


def rule(after, one):
    """More room the more stages follow, and the more threads the host has."""
    return Limits(min(8, 1 + 2 * after), min(8, one.threads + 1))


def everything(totals, hosts, stages):
    """The least time of the slowest stage, infinite where nothing fits."""
    best = math.inf
    for order in itertools.permutations(hosts, stages):
        for inner in itertools.combinations(range(1, totals.layers), stages - 1):
            edges = [0, *inner, totals.layers]
            slowest = 0.0
            for s, one in enumerate(order):
                first, last = edges[s], edges[s + 1]
                needed = stage_bytes(totals, first, last, rule(stages - 1 - s, one), one.threads)
                if needed > one.available_bytes:
                    break
                slowest = max(slowest, stage_seconds(totals, first, last, one))
            else:
                best = min(best, slowest)
    return best


def compare(seed, tight):
    """All numbers of stages of one random case. Gives how many of them fit and how many do not."""
    rng = random.Random(seed)
    count, ranks = rng.randint(1, 7), rng.randint(1, 4)
    totals = total_up(layers(rng, count))
    whole = stage_bytes(totals, 0, count, Limits(4, 2), 2)
    hosts = random_cluster(seed, ranks, whole if tight else None).hosts
    kinds = group_hosts(hosts)
    tally = [0, 0]
    for stages in range(1, min(count, ranks) + 1):
        best, cuts = everything(totals, hosts, stages), partition(totals, kinds, stages, rule)
        where = f"case {seed}, {stages} stages"
        tally[cuts is None] += 1
        if cuts is None:
            assert math.isinf(best), f"{where}: nothing found, where {best} s can be had"
            continue
        check_cuts(totals, kinds, stages, cuts)
        ranked = assign_ranks(cuts, kinds)
        found = max(stage_seconds(totals, first, last, hosts[rank]) for rank, first, last in ranked)
        assert found == approx(best, rel=1e-9), f"{where}: {found} s, where {best} s can be had"
    return tally


def check_cuts(totals, kinds, stages, cuts):
    assert len(cuts) == stages
    assert [first for _, first, _ in cuts] == [0, *(last for _, _, last in cuts[:-1])]
    assert cuts[-1][2] == totals.layers
    assert all(first < last for _, first, last in cuts)
    for kind, members in enumerate(kinds.members):
        assert sum(k == kind for k, _, _ in cuts) <= len(members)
    for s, (kind, first, last) in enumerate(cuts):
        one = kinds.hosts[kind]
        needed = stage_bytes(totals, first, last, rule(stages - 1 - s, one), one.threads)
        assert needed <= one.available_bytes


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_the_slowest_stage_is_as_fast_as_can_be(start):
    for seed in range(start, start + 50):
        compare(seed, tight=False)


@pytest.mark.parametrize("start", range(1000, 1300, 50))
def test_where_memory_binds_too_and_nothing_is_found_only_where_nothing_fits(start):
    tallies = [compare(seed, tight=True) for seed in range(start, start + 50)]
    fits, nothing = map(sum, zip(*tallies, strict=True))
    assert fits > 20
    assert nothing > 10


def test_a_slow_host_takes_the_light_layer_in_the_middle():
    """The fast hosts must stop short of what they could take, so that the slow one has something that it can do."""
    works = [Work(flops / 3, 0.0) for flops in (5e6, 5e6, 1e6, 9e6)]
    costs = [
        replace(cost, forward=work, grad_input=work, grad_weight=work)
        for cost, work in zip(equal_layers(4), works, strict=True)
    ]
    hosts = (host(0), host(1, matrix_flops=2e8), host(2))
    cuts = partition(total_up(costs), group_hosts(hosts), 3, rule)
    assert [(first, last) for _, first, last in cuts] == [(0, 2), (2, 3), (3, 4)]
    assert [hosts[rank].matrix_flops for rank, _, _ in assign_ranks(cuts, group_hosts(hosts))] == [1e9, 2e8, 1e9]


def test_more_stages_than_layers_or_hosts_fit_nowhere():
    assert partition(total_up(equal_layers(2)), group_hosts(alike(3).hosts), 3, rule) is None


def test_equal_hosts_share_equal_layers():
    kinds = group_hosts(alike(3).hosts)
    assert kinds.members == ((0, 1, 2),)
    cuts = partition(total_up(equal_layers(9)), kinds, 3, rule)
    assert assign_ranks(cuts, kinds) == [(0, 0, 3), (1, 3, 6), (2, 6, 9)]


def test_a_short_host_stands_last_where_least_is_in_flight():
    totals = total_up(equal_layers(4, out=1000))
    room = stage_bytes(totals, 2, 4, rule(0, host(0)), 1)
    kinds = group_hosts((host(0, available_bytes=room), host(1)))
    cuts = partition(totals, kinds, 2, rule)
    assert assign_ranks(cuts, kinds) == [(1, 0, 2), (0, 2, 4)]
    shorter = group_hosts((host(0, available_bytes=room - 1), host(1)))
    assert assign_ranks(partition(totals, shorter, 2, rule), shorter) == [(1, 0, 3), (0, 3, 4)]


def test_hosts_alike_in_all_that_counts_are_one_kind():
    hosts = (host(0), host(1, name="other", cpu="other"), host(2, threads=2), host(3), host(4, available_bytes=5))
    kinds = group_hosts(hosts)
    assert sorted(kinds.members) == [(0, 1, 3), (2,), (4,)]
    for kind, members in zip(kinds.hosts, kinds.members, strict=True):
        first = hosts[members[0]]
        assert (kind.threads, kind.available_bytes) == (first.threads, first.available_bytes)
        assert (kind.matrix_flops, kind.elements) == (first.matrix_flops, first.elements)
