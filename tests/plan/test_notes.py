"""What a plan tells its reader: why ranks are idle and what a share would cost, and what would be faster."""

import random
import re
from dataclasses import replace

from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.layers import Work
from mpipipe.plan import make_plan
from mpipipe.plan.memory import stage_bytes
from mpipipe.plan.problem import StageChoice
from mpipipe.resources import LayerTimes

from .cases import alike, cluster, equal_layers, host, job, layers, problem_of, random_cluster

PRICE = re.compile(r"idle ranks: [\d, ]+; a share for it would make a step ([\d,.]+)% longer")


def slow_and_fast(flops, fast=3):
    return cluster(host(0, matrix_flops=flops), *(host(rank) for rank in range(1, fast + 1)))


def test_the_price_of_a_share_is_what_such_a_plan_takes():
    """Four layers on three fast hosts and a slow one."""
    costs, hosts = equal_layers(4), slow_and_fast(2e8)
    auto = make_plan(costs, hosts, job(16, ranks="auto", schedule="1f1b"))
    (price,) = (PRICE.fullmatch(note) for note in auto.notes if note.startswith("idle"))
    everyone = make_plan(costs, hosts, job(16, schedule="1f1b"))
    assert float(price[1]) / 100 == approx(everyone.step_s / auto.step_s - 1, abs=0.01)


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 5), st.integers(1, 9))
@settings(max_examples=usual(12, 40), deadline=None)
def test_every_idle_rank_has_one_reason(seed, count, ranks, micros):
    plan = make_plan(layers(random.Random(seed), count), random_cluster(seed, ranks), job(micros, ranks="auto"))
    named = [note.split(";")[0].removeprefix("idle ranks: ") for note in plan.notes if note.startswith("idle ranks: ")]
    assert sorted(int(rank) for some in named for rank in some.split(", ")) == list(plan.idle)


def test_a_host_too_small_for_any_layer():
    costs = equal_layers(6, weight_bytes=100_000)
    hosts = [host(0, available_bytes=1000), host(1), host(2)]
    least = stage_bytes(problem_of(costs, hosts), StageChoice(0, 1, 2, True), 1, 1)
    plan = make_plan(costs, cluster(*hosts), job(ranks="auto"))
    assert f"idle ranks: 0; it has 1,000 bytes, and the smallest layer takes {least:,}" in plan.notes


def test_ranks_of_one_reason_are_told_of_together():
    plan = make_plan(equal_layers(2), alike(5), job(64, ranks="auto"))
    assert "idle ranks: 2, 3, 4; there are only 2 layers, and a rank needs at least one" in plan.notes


def test_fewer_ranks_are_told_of_only_where_they_are_worth_it():
    def told(flops):
        return [note for note in make_plan(equal_layers(8), slow_and_fast(flops), job(16)).notes if "faster" in note]

    assert told(1e9) == []
    (note,) = told(1e6)
    assert re.fullmatch(r'3 of the 4 ranks would be [\d,]+% faster by this plan\'s reckoning: ranks = "auto"', note)


def test_who_recomputes_is_told():
    costs = equal_layers(6, out=10_000)
    whole = stage_bytes(problem_of(costs, [host(0)]), StageChoice(0, 0, 6), 4, 2)
    plan = make_plan(costs, alike(1, available_bytes=whole - 1), job(4, schedule="gpipe"))
    assert plan.stages[0].recompute
    assert "to fit its memory, stage 0 keeps only its input and works out the rest again" in plan.notes


def test_what_was_not_measured_is_told():
    costs = [replace(cost, signature=f"kind {i % 2}") for i, cost in enumerate(equal_layers(4))]
    known = tuple(LayerTimes(f"kind {i}", 4, 0.1, 0.1, 0.1) for i in range(2))

    def told(*times):
        return [note for note in make_plan(costs, cluster(host(0, layers=times)), job()).notes if "measured" in note]

    assert told(*known) == []
    assert told(known[0]) == ["no measured times for 001_layer, 003_layer: reckoned from the hosts' rates, at best"]
    assert told() == ["no measured times for 4 of 4 layers: reckoned from the hosts' rates, at best"]


def test_a_measured_time_counts_for_more_than_the_rates():
    costs = [replace(cost, signature="one", forward=Work(1e12)) for cost in equal_layers(2)]
    times = LayerTimes("one", 4, 0.25, 0.5, 1.0)
    (stage,) = make_plan(costs, cluster(host(0, layers=(times,))), job()).stages
    assert (stage.forward_s, stage.input_s, stage.weight_s) == approx((0.5, 1.0, 2.0))


def test_a_schedule_that_cannot_be_had_is_told_of():
    def told(schedule, count, hosts):
        plan = make_plan(equal_layers(count), alike(hosts), job(8, schedule=schedule))
        return plan.schedule, [note for note in plan.notes if schedule in note]

    assert told("zb-v", 4, 2) == ("zb-v", [])
    schedule, (note,) = told("interleaved", 5, 3)
    assert note == (
        "plan.schedule = interleaved needs 2 layers for each of 3 ranks, and there are only 5 layers: "
        f"{schedule} is planned instead"
    )
    assert told("zb-v", 4, 1)[1] == [
        f"plan.schedule = zb-v is for two ranks or more: {told('zb-v', 4, 1)[0]} is planned instead"
    ]
