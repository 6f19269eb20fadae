"""Ranks that share the cores of a host, and hosts with a part of a core."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.plan import make_plan
from mpipipe.plan.simulated import simulate_plan
from mpipipe.resources import Cluster

from .cases import equal_layers, host, job, layers


def shelf(*cores, ranks=1, threads=1):
    """A host for each number of cores, with so many ranks."""
    hosts = [(name, count) for name, count in enumerate(cores) for _ in range(ranks)]
    return Cluster(
        tuple(host(rank, name=f"mini{name}", threads=threads, cores=c) for rank, (name, c) in enumerate(hosts))
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 2), st.floats(0.2, 3))
def test_what_is_predicted_is_what_the_plan_itself_says(seed, hosts, ranks, cores):
    """Every rank makes its schedule and its prediction from the plan, with cores shared or not; and no plan is faster
    than the bound."""
    rng = random.Random(seed)
    costs = layers(rng, rng.randint(hosts * ranks, 6))
    plan = make_plan(costs, shelf(*[cores] * hosts, ranks=ranks), job(4))
    assert simulate_plan(plan).end_s <= plan.step_s * (1 + 1e-9)
    assert plan.bound_s <= plan.step_s * (1 + 1e-9)


def test_four_ranks_on_two_cores_are_no_faster_than_two_cores():
    """All the work of 8 micro-batches of 8 layers, 0.3 s each; four hosts would take about half."""
    work_s = 8 * 8 * 0.3
    shared, apart = (make_plan(equal_layers(8), one, job(8)) for one in (shelf(2, ranks=4), shelf(*[1] * 4)))
    assert work_s / 2 <= shared.step_s <= 1.2 * work_s / 2
    assert apart.step_s < 0.75 * shared.step_s
    assert shared.bound_s >= 0.99 * work_s / 2


def test_a_host_with_a_part_of_a_core_gets_a_part_of_the_layers():
    """Quotas of 1, 1/2 and 1/4 of a core: 16, 8 and 4 of 28 layers, or nearly."""
    plan = make_plan(equal_layers(28), shelf(1, 0.5, 0.25), job(16, schedule="1f1b"))
    held = {stage.host: stage.last - stage.first for stage in plan.stages}
    assert held["mini0"] in range(15, 18)
    assert held["mini1"] in range(7, 10)
    assert held["mini2"] in range(3, 6)
    assert plan.step_s >= 28 * 16 * 0.3 / 1.75


def test_a_rank_looks_for_messages_less_often_where_that_costs_others():
    shelves = shelf(2, 2), shelf(1, ranks=2), shelf(0.1, 0.1)
    apart, shared, quota = (make_plan(equal_layers(8), one, job(8)).stages[0].look_s for one in shelves)
    assert apart < shared < quota


def test_loading_samples_counts_where_rank_0_is_busy():
    quick, slow = (make_plan(equal_layers(4), shelf(1), job(8), load_s=load_s) for load_s in (0.0, 0.5))
    assert slow.step_s == approx(quick.step_s + 8 * 0.5, rel=0.01)
