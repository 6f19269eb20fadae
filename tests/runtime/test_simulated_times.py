"""The simulation tells the truth: real runs whose layers sleep take as long as it says, for every schedule.

Ranks are threads of this process, their layers sleep instead of computing, so nine of them overlap on any machine;
every message takes as long as over a slow link.
"""

import random
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from mpipipe.plan import pipeline_of
from mpipipe.plan.simulated import simulate_plan
from mpipipe.resources.pretence import Link
from mpipipe.runtime.slow_links import SlowLinks
from mpipipe.schedule import SCHEDULES, rooms_of

from .cases import make_case
from .harness import play, train

NEAR = 0.05
LATENCY_S, WIRE_S = 1.5e-3, 1e-3
MESSAGE_BYTES = 16
"""Of one sample of shape (4,)."""
TRIES = 9
"""Steps that are looked at, at the most: a busy machine makes some longer, none shorter."""


def unlike_stages(name, ranks, micros, threads=1):
    """A case with stages of unlike costs on so many ranks, and its plan as the planner would have written it."""
    recipe, rng = SCHEDULES[name], random.Random(ranks)
    stages = ranks * recipe.chunks
    placement = recipe.place(ranks, stages)
    order = tuple(next(lane for lane, held in enumerate(placement) if s in held) for s in range(stages))
    costs = [[8e-3 / recipe.chunks * rng.uniform(0.7, 1.3) for _ in range(3)] for _ in range(stages)]
    keys = ("forward_s", "input_s", "weight_s")
    layers = [{"kind": "sleep", **dict(zip(keys, each, strict=True))} for each in costs]
    case = make_case(
        layers, (4,), cuts=tuple(range(1, stages)), order=order, schedule=name, threads=threads, in_flight=1,
        loss="mean_squared_error", batch=micros, micro_batch=1, count=micros, slots=4, stall_s=30.0,
    )  # fmt: skip
    limits = recipe.limits(stages, micros, ranks + threads if threads > 1 else 0)
    planned = tuple(
        replace(
            stage, forward_s=f, input_s=i if s else 0.0, weight_s=w,
            in_flight=limit, latency_s=LATENCY_S, wire_s=WIRE_S,
        )
        for s, (stage, (f, i, w), limit) in enumerate(zip(case.plan.stages, costs, limits, strict=True))
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


def measured(case, foretold_s):
    """Seconds from the first F to the last of F, I and W, of the step that comes nearest; stops once one is near."""
    members, spans = {}, []
    link = Link(latency_s=LATENCY_S, bandwidth=MESSAGE_BYTES / WIRE_S)
    peers = range(len(case.plan.lanes))

    def story(conductor):
        one_step = train(case, 1)
        while len(spans) < TRIES and (not spans or abs(min(spans) / foretold_s - 1) > 0.6 * NEAR):
            one_step(conductor)
            times = [
                pair
                for member in members.values()
                for program in member.programs.made.values()
                for pair, computes in zip(program.times.T, program.computes, strict=True)
                if computes
            ]
            spans.append(max(end for _, end in times) - min(begin for begin, _ in times))
            time.sleep(2e-3)

    def slow(transport):
        return SlowLinks(transport, {peer: link for peer in peers if peer != transport.rank})

    play(case, story, link=slow, tamper=lambda member: members.__setitem__(member.crew.rank, member))
    return min(spans)


@pytest.mark.parametrize("ranks", range(2, 10))
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_real_step_takes_as_long_as_the_simulated_one(name, ranks):
    case = unlike_stages(name, ranks, micros=ranks + 3)
    foretold_s = simulate_plan(case.plan).end_s
    assert measured(case, foretold_s) == pytest.approx(foretold_s, rel=NEAR)


@pytest.mark.parametrize("name", ["1f1b", "zb-h1"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_with_two_workers_a_rank(name, ranks):
    """A W of a sleeping layer is one task, so it takes one worker as long as it lasts: the plan reckons with halves."""
    case = unlike_stages(name, ranks, micros=8, threads=2)
    plan = replace(case.plan, stages=tuple(replace(stage, weight_s=0.0) for stage in case.plan.stages))
    layers = [{**layer, "weight_s": 0.0} for layer in case.job.model.layers]
    job = replace(case.job, model=replace(case.job.model, layers=tuple(layers)))
    case = replace(case, job=job, plan=plan)
    foretold_s = simulate_plan(case.plan).end_s
    assert measured(case, foretold_s) == pytest.approx(foretold_s, rel=NEAR)


def test_costs_and_links_are_unlike_and_count():
    """Else the tests above would say little."""
    plan = unlike_stages("1f1b", 5, 8).plan
    free = replace(plan, stages=tuple(replace(stage, latency_s=0.0, wire_s=0.0) for stage in plan.stages))
    assert simulate_plan(plan).end_s > 1.05 * simulate_plan(free).end_s
    assert all(a.forward_s != b.forward_s for a, b in pairwise(plan.stages))
