"""Too many unlike hosts for an exact search are grouped; the plan must still be one that the real hosts can carry."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.plan import make_plan
from mpipipe.plan.partition import MOST_STATES, group_hosts
from mpipipe.plan.predict import Limits, stage_bytes, total_up

from .cases import cluster, host, job, layers


def unlike(seed, count, least=0, most=1 << 50, threads=8):
    rng = random.Random(seed)
    return [
        host(
            rank,
            available_bytes=rng.randint(least, most),
            threads=rng.randint(1, threads),
            matrix_flops=rng.uniform(1e9, 5e10),
            elements=rng.uniform(5e8, 3e9),
        )
        for rank in range(count)
    ]


def check_grouping(hosts):
    kinds = group_hosts(hosts)
    assert sorted(rank for members in kinds.members for rank in members) == [one.rank for one in hosts]
    assert math.prod(len(members) + 1 for members in kinds.members) <= MOST_STATES
    for kind, members in zip(kinds.hosts, kinds.members, strict=True):
        assert kind.available_bytes <= min(hosts[rank].available_bytes for rank in members)
        for rank in members:
            one = hosts[rank]
            assert kind.matrix_flops * kind.threads <= one.matrix_flops * one.threads * (1 + 1e-12)
            assert kind.elements * kind.threads <= one.elements * one.threads * (1 + 1e-12)
    return kinds


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_a_grouping_is_small_enough_and_promises_no_more_than_its_members_have(seed, count):
    check_grouping(unlike(seed, count))


def test_a_hundred_hosts_of_all_sizes_can_be_searched():
    check_grouping([host(rank, matrix_flops=10.0 ** (7 + rank % 10), threads=1 + rank) for rank in range(100)])


def test_hosts_without_any_memory_left_can_be_grouped():
    """What is set aside for rank 0 may be more than it has."""
    hosts = unlike(1, 20)
    hosts[3] = host(3, available_bytes=-5)
    hosts[7] = host(7, available_bytes=0)
    check_grouping(hosts)


def test_twelve_unlike_hosts_are_each_planned_as_they_are():
    assert len(group_hosts(unlike(2, 12)).members) == 12
    assert len(group_hosts(unlike(2, 13)).members) < 13


@pytest.mark.parametrize("seed", range(3))
def test_a_plan_for_20_unlike_hosts_is_one_they_can_carry(seed):
    """With memory about what a stage takes; what no plan fits is refused, what is planned fits."""
    rng = random.Random(seed)
    costs = layers(rng, 24)
    totals = total_up(costs)
    need = stage_bytes(totals, 0, 2, Limits(8, 8), 8)
    hosts = unlike(seed, 20, need, 4 * need)
    plan = make_plan(costs, cluster(*hosts), job(ranks=16))
    assert len(plan.stages) == 16
    assert any("planned as alike" in note for note in plan.notes)
    for stage in plan.stages:
        assert stage.bytes <= stage.available_bytes == hosts[stage.rank].available_bytes
        assert stage.threads == hosts[stage.rank].threads


@pytest.mark.parametrize("seed", [4, 10])
def test_members_with_more_threads_need_more_memory(seed):
    """Planned with the room of the group's fewest threads, the others would not fit."""
    rng = random.Random(seed)
    costs = layers(rng, 18)
    need = stage_bytes(total_up(costs), 0, 2, Limits(8, 5), 4)
    hosts = [
        host(
            rank,
            threads=rng.randint(1, 4),
            available_bytes=int(need * rng.uniform(1, 2)),
            matrix_flops=rng.uniform(1e9, 4e9),
        )
        for rank in range(15)
    ]
    plan = make_plan(costs, cluster(*hosts), job(ranks=13, schedule="1f1b"))
    assert len({stage.threads for stage in plan.stages}) > 2
    for stage in plan.stages:
        assert stage.bytes <= stage.available_bytes
