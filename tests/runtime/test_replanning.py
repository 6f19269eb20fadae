"""Hosts that become slower in mid-run, in virtual time: when layers move, and what comes of it."""

import re
from dataclasses import replace
from functools import cache
from itertools import combinations
from statistics import median

import pytest

from mpipipe.layers import layer_costs, signature
from mpipipe.plan import make_plan
from mpipipe.plan.reckon import seconds
from mpipipe.plan.simulated import simulate_plan
from mpipipe.replan import Replanner
from mpipipe.resources import Cluster, Host, LayerTimes, Link, slowed
from mpipipe.resources.pretence import Link as SlowLink
from mpipipe.runtime.slow_links import SlowLinks

from .cases import linear, make_case
from .harness import numbers, play, some_batches, virtual_time
from .straight import straight

STEPS, FROM = 44, 12
LATENCY_S, BANDWIDTH = 2e-4, 125e6
SLEEP = {"kind": "sleep", "forward_s": 3e-4, "input_s": 3e-4, "weight_s": 3e-4}
EVEN, HALF = (1.0, 1.0, 1.0), (1.0, 0.5, 1.0)
"""Speeds of three hosts."""
UNLIKE, EQUAL = (0.7, 1.0, 0.6, 0.3, 0.45, 0.9, 0.5, 0.35, 0.8), (2, 4, 5, 7, 8, 10, 11, 13)
"""Speeds of nine hosts, and cuts that give each an equal number of layers."""


@cache
def prepared(speeds, cuts=()):
    """A case with the plan for hosts of these speeds, and the hosts at full speed."""
    layers = [linear(12), *[SLEEP] * 12, linear(10)]
    case = make_case(layers, (16,), ranks=len(speeds), batch=32, micro_batch=4, count=64, slots=4, stall_s=60.0)
    case = replace(case, job=replace(case.job, plan=replace(case.job.plan, schedule="1f1b", cuts=cuts)))
    costs, model = layer_costs(case.model, case.job.train), case.model
    plain = [Host(rank, f"mini{rank}", "", 1 << 40, 1 << 40, 1, 1e12, 1e12) for rank in range(len(speeds))]
    times = tuple(
        LayerTimes(
            signature(model, i),
            4,
            *(seconds(work, plain[0]) for work in (one.forward, one.grad_input, one.grad_weight)),
        )
        for i, one in enumerate(costs)
    )
    hosts = [replace(host, layers=times) for host in plain]
    links = tuple(Link(a.name, b.name, LATENCY_S, BANDWIDTH, BANDWIDTH) for a, b in combinations(hosts, 2))
    mine = Cluster(tuple(slowed(host, 1 / speed) for host, speed in zip(hosts, speeds, strict=True)), links=links)
    plan = make_plan(costs, mine, case.job)
    return replace(case, plan=plan), Cluster(tuple(hosts), links=links)


def run(before, after, planned=EVEN, steps=STEPS, cuts=()):
    """Seconds of each step, what the replanner said after which of them, results, and the plans of the steps."""
    case, cluster = prepared(planned, cuts)
    rate, virtual, link = case.job.train.learning_rate, virtual_time(case), SlowLink(LATENCY_S, BANDWIDTH)
    said, results, plans = {}, [], []

    def story(conductor):
        replanner = Replanner(conductor, cluster, lambda: None)
        for step, batch in enumerate(some_batches(case, steps)):
            plans.append(conductor.plan)
            results.append(conductor.train(batch.rows, case.feed, step, rate / (step + 1)))
            lines = replanner.after(dict(results[-1].compute_s), results[-1].seconds, steps - step - 1)
            said.update({step + 1: lines} if lines else {})

    def slow(transport):
        peers = (peer for peer in range(len(planned)) if peer != transport.rank)
        return SlowLinks(transport, dict.fromkeys(peers, link), virtual.clock)

    def tamper(member):
        member.pace_at = lambda step: (before if step < FROM else after)[member.crew.rank]

    play(case, story, link=slow, tamper=tamper, virtual=virtual, limit_s=200)
    return case, [result.seconds for result in results], said, results, plans


def test_an_undisturbed_run_is_left_alone_and_as_fast_as_its_plan():
    _, took, said, _, plans = run(EVEN, EVEN, steps=24)
    assert said == {} and all(plan == plans[0] for plan in plans)
    assert took[2:] == pytest.approx([simulate_plan(plans[0]).end_s] * len(took[2:]), rel=0.05)


def test_a_rank_slowed_to_half_its_speed_in_mid_run():
    """Within 30 steps the run is back at 0.95 of what a plan for the new speeds reaches; same bits as undisturbed."""
    case, took, said, results, plans = run(EVEN, HALF)
    _, ideal, _, _, _ = run(HALF, HALF, planned=HALF, steps=5)
    (step,) = [step for step, lines in said.items() if "moved" in lines[-1]]
    assert FROM < step <= FROM + 30
    assert re.search(r"rank 1\) takes 2\.0[0-9] times as long", said[step][0])
    assert re.search(r"moved \d+ layers", said[step][-1])
    assert median(took[FROM:step]) > 1.4 * median(took[2 : FROM - 1])
    assert median(ideal) / median(took[step + 1 :]) > 0.95
    share = [sum(plan.stages[s].last - plan.stages[s].first for s in plan.stages_of(1)) for plan in plans]
    assert share[-1] < share[0]
    undisturbed = straight(replace(case, plan=plans[0]), STEPS)
    assert numbers(results) == undisturbed.numbers


def test_layers_come_back_to_a_rank_that_is_fast_again():
    _, _, said, _, plans = run(HALF, EVEN, planned=HALF)
    share = [sum(plan.stages[s].last - plan.stages[s].first for s in plan.stages_of(1)) for plan in plans]
    assert said and share[-1] > share[0]


def test_nine_unlike_hosts_are_as_fast_as_planned_and_faster_than_with_equal_numbers_of_layers():
    _, took, _, _, plans = run(UNLIKE, UNLIKE, planned=UNLIKE, steps=3)
    _, equal, _, _, _ = run(UNLIKE, UNLIKE, planned=UNLIKE, steps=3, cuts=EQUAL)
    assert median(took) == pytest.approx(simulate_plan(plans[0]).end_s, rel=0.05)
    assert median(equal) / median(took) >= 1.4
