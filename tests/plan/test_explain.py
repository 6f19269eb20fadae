"""Other rules for the same hosts: each does what it is known for, and none beats the plan."""

import itertools
import random

from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.plan import compare, make_plan
from mpipipe.plan.baselines import by_count, by_memory, by_parameters, by_time

from .cases import cluster, equal_layers, host, job, layers, random_cluster, random_problem

RULES = by_count, by_memory, by_parameters, by_time


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.sampled_from(RULES))
def test_a_rule_gives_every_host_some_layers_in_the_order_of_the_hostfile(seed, hosts, count, rule):
    stages = rule(random_problem(random.Random(seed), hosts, count, 4, 1.0))
    assert [stage.host for stage in stages] == list(range(min(hosts, count)))
    assert [layer for stage in stages for layer in range(stage.first, stage.last)] == list(range(count))
    assert all(stage.first < stage.last for stage in stages)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(5, 9))
def test_balanced_rules_make_the_largest_part_least(seed, hosts, count):
    """As by trying all cuts."""
    problem = random_problem(random.Random(seed), hosts, count, 4)
    for rule, cost in ((by_parameters, problem.fixed_bytes), (by_time, _first_host_seconds(problem))):
        parts = [float(cost[stage.first : stage.last].sum()) for stage in rule(problem)]
        assert max(parts) <= least_largest(cost, hosts) * (1 + 1e-9)


def _first_host_seconds(problem):
    return (problem.forward_s + problem.input_s + problem.weight_s)[0]


def least_largest(cost, parts):
    every = itertools.combinations(range(1, len(cost)), parts - 1)
    edges = ([0, *cuts, len(cost)] for cuts in every)
    return min(max(float(cost[a:b].sum()) for a, b in zip(each, each[1:], strict=False)) for each in edges)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 9), st.integers(1, 9))
@settings(max_examples=usual(12, 25), deadline=None)
def test_no_rule_is_faster_than_the_plan(seed, count, ranks, micros):
    """But for the little that a plan with a simpler schedule may lose by."""
    costs, hosts, asked = layers(random.Random(seed), count), random_cluster(seed, min(ranks, 5)), job(micros)
    plan = make_plan(costs, hosts, asked)
    for other in compare(costs, hosts, asked):
        assert other.step_s is None or plan.step_s <= 1.003 * other.step_s, other.rule


def test_hosts_unlike_in_speed_and_memory():
    """Twice the speed and four times the memory: only the plan gives the fast one twice as much."""
    hosts = cluster(host(0, available_bytes=1 << 40), host(1, available_bytes=1 << 42, matrix_flops=2e9))
    costs, asked = equal_layers(30), job(20)
    cuts = {other.rule: other.cuts for other in compare(costs, hosts, asked)}
    assert cuts["equal numbers of layers"] == cuts["equal parameters"] == (15,)
    assert cuts["in proportion to free memory"] == (6,)
    sizes = {stage.rank: stage.last - stage.first for stage in make_plan(costs, hosts, job(20, schedule="1f1b")).stages}
    assert sizes == {0: 10, 1: 20}
