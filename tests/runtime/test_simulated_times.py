"""The simulation tells the truth: real runs whose layers sleep take as long as it says, for every schedule.

Ranks are threads of this process that live by a virtual time, in which only sleeps and messages on slow links take any.
"""

import random
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from effort import usual

from mpipipe.layers import layer_costs
from mpipipe.plan import make_plan, pipeline_of
from mpipipe.plan.sharing import TASK_S
from mpipipe.plan.simulated import simulate_plan
from mpipipe.resources import Cluster, Host, Link
from mpipipe.resources.pretence import Link as SlowLink
from mpipipe.runtime.slow_links import SlowLinks
from mpipipe.schedule import SCHEDULES, rooms_of

from .cases import make_case
from .harness import play, train, virtual_time

NEAR = 1e-3
KEYS = ("forward_s", "input_s", "weight_s")
LATENCY_S, WIRE_S = 1e-3, 0.5e-3
SHAPE, MESSAGE_BYTES = (1024,), 4096
"""Of one sample: a target, of 8 bytes, takes next to no time beside it."""


def unlike_stages(name, ranks, micros, threads=1):
    """A case with stages of unlike costs on so many ranks, and its plan as the planner would have written it."""
    recipe, rng = SCHEDULES[name], random.Random(ranks)
    stages = ranks * recipe.chunks
    placement = recipe.place(ranks, stages)
    order = tuple(next(lane for lane, held in enumerate(placement) if s in held) for s in range(stages))
    costs = [[4e-3 / recipe.chunks * rng.uniform(0.7, 1.3) for _ in range(3)] for _ in range(stages)]
    layers = [{"kind": "sleep", **{key: one + TASK_S for key, one in zip(KEYS, each, strict=True)}} for each in costs]
    case = make_case(
        layers, SHAPE, cuts=tuple(range(1, stages)), order=order, schedule=name, threads=threads, in_flight=1,
        batch=micros, micro_batch=1, count=micros, slots=4, stall_s=30.0,
    )  # fmt: skip
    limits = recipe.limits(stages, micros, ranks + threads if threads > 1 else 0)
    far = [here != there for here, there in zip(order, (*order[1:], None), strict=True)]
    planned = tuple(
        replace(
            stage, forward_s=f, input_s=i if s else 0.0, weight_s=w,
            in_flight=limit, latency_s=LATENCY_S * slow, wire_s=WIRE_S * slow,
        )
        for s, (stage, (f, i, w), limit, slow) in enumerate(zip(case.plan.stages, costs, limits, far, strict=True))
    )  # fmt: skip
    plan = replace(case.plan, stages=planned)
    rooms = rooms_of(SCHEDULES[name].make(pipeline_of(plan, micros)))
    slots = tuple(
        replace(
            stage, in_flight=room.in_flight, gradients_in_flight=max(room.gradients, min(room.in_flight, threads + 1))
        )
        for stage, room in zip(planned, rooms, strict=True)
    )
    return replace(case, plan=replace(plan, stages=slots))


def measured(case, latency_s=LATENCY_S, wire_s=WIRE_S, paces=(), clock=None):
    """Seconds of a real step, from the first F to the last of F, I and W. `paces` are those of the ranks, if not 1. The
    time is virtual, or that of another `clock`."""
    link, peers = SlowLink(latency_s, MESSAGE_BYTES / wire_s if wire_s else 1e15), range(case.plan.ranks)
    virtual = None if clock else virtual_time(case)

    def pretend(member):
        if paces:
            member.pace_at = lambda step: paces[member.crew.rank]

    def slow(transport):
        return SlowLinks(transport, {peer: link for peer in peers if peer != transport.rank}, clock or virtual.clock)

    outcome = play(case, train(case, 1), link=slow, tamper=pretend, virtual=virtual)
    programs = [program for member in outcome.members.values() for program in member.programs.made.values()]
    began, ended = np.concatenate([program.times[:, program.computes > 0] for program in programs], axis=1)
    return ended.max() - began.min()


@pytest.mark.parametrize("ranks", usual((2, 3, 4, 6, 9), range(2, 10)))
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_real_step_takes_as_long_as_the_simulated_one(name, ranks):
    case = unlike_stages(name, ranks, micros=ranks + 3)
    foretold_s = simulate_plan(case.plan).end_s
    assert measured(case) == pytest.approx(foretold_s, rel=NEAR)


@pytest.mark.parametrize("name", SCHEDULES)
def test_hosts_that_pretend_to_be_slower_take_as_long_as_the_simulated_ones(name):
    paces = (0.7, 1.0, 0.4, 0.55)
    case = unlike_stages(name, 4, micros=8)
    slower = tuple(
        replace(stage, **{key: getattr(stage, key) / paces[stage.rank] for key in KEYS}) for stage in case.plan.stages
    )
    case = replace(case, plan=replace(case.plan, stages=slower))
    assert measured(case, paces=paces) == pytest.approx(
        simulate_plan(case.plan).end_s, rel=0.01
    )  # TASK_S is slower too


@pytest.mark.parametrize("name", ["1f1b", "zb-h1"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_with_two_workers_a_rank(name, ranks):
    """A W of one sleeping layer is one task: one worker is busy with it, the other is free for F and I."""
    case = unlike_stages(name, ranks, micros=8, threads=2)
    foretold_s = simulate_plan(case.plan).end_s
    assert measured(case) == pytest.approx(foretold_s, rel=NEAR)


def test_on_slow_links_the_plan_is_faster_than_plain_1f1b():
    """Nine alike ranks, links of a quarter of a stage's time: at least 1.2 times, in virtual time."""
    ranks, each_s, micros = 9, 4e-3, 24
    latency_s = 3 * each_s / 4
    layer = {"kind": "sleep", "forward_s": each_s, "input_s": each_s, "weight_s": each_s}
    case = make_case(
        [layer] * ranks, SHAPE, cuts=tuple(range(1, ranks)), batch=micros, micro_batch=1, count=micros, slots=4,
        stall_s=30.0,
    )  # fmt: skip
    hosts = [Host(rank, f"mini{rank}", "", 1 << 40, 1 << 40, 1, 1e12, 1e12) for rank in range(ranks)]
    links = tuple(Link(a.name, b.name, latency_s, 1e12, 1e12) for a, b in combinations(hosts, 2))
    costs = layer_costs(case.model, case.job.train)
    plan = make_plan(costs, Cluster(tuple(hosts), links=links), case.job)
    classic = tuple(
        replace(
            stage, in_flight=min(micros, ranks - s), gradients_in_flight=min(2, ranks - s),
            forward_s=each_s, input_s=each_s * (s > 0), weight_s=each_s, latency_s=latency_s,
        )
        for s, stage in enumerate(case.plan.stages)
    )  # fmt: skip
    plain = replace(case, plan=replace(case.plan, schedule="1f1b", stages=classic))
    found_s = measured(replace(case, plan=plan), latency_s, 0.0)
    assert found_s == pytest.approx(simulate_plan(plan).end_s, rel=0.02)  # of which TASK_S is one percent
    assert measured(plain, latency_s, 0.0) > 1.2 * found_s


def test_costs_and_links_are_unlike_and_count():
    """Else the tests above would say little."""
    plan = unlike_stages("1f1b", 5, 8).plan
    free = replace(plan, stages=tuple(replace(stage, latency_s=0.0, wire_s=0.0) for stage in plan.stages))
    assert simulate_plan(plan).end_s > 1.05 * simulate_plan(free).end_s
    assert all(a.forward_s != b.forward_s for a, b in pairwise(plan.stages))
