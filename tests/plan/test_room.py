"""A plan takes what it says it takes, and that is there: whatever the schedule, with stages that recompute or not."""

import random
from dataclasses import replace

import numpy as np
import pytest
from effort import usual

from mpipipe.layers import LayerCost, Work
from mpipipe.plan import make_plan
from mpipipe.plan.allowed import Allowed
from mpipipe.plan.choose import choose
from mpipipe.plan.memory import shared_scratch, stage_bytes
from mpipipe.plan.price import Prices
from mpipipe.schedule import SCHEDULES

from .cases import alike, ground, job


def taken(found, hosts):
    """Bytes of each host."""
    each = list(zip(found.stages, found.bytes, strict=True))
    return [sum(size for one, size in each if one.host == host) for host in range(hosts)]


def with_part(problem, part):
    return replace(problem, room_bytes=(problem.room_bytes * part).astype(np.int64))


def check_room(found, problem):
    shared = shared_scratch(problem, found.stages)
    each = zip(found.stages, found.in_flight, found.gradients, shared, strict=True)
    assert found.bytes == tuple(stage_bytes(problem, one, k, g) - less for one, k, g, less in each)
    assert all(size <= room for size, room in zip(taken(found, problem.hosts), problem.room_bytes, strict=True))


@pytest.mark.parametrize("recompute", ["auto", "always"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_stage_fits_with_the_slots_that_its_own_schedule_needs(schedule, recompute):
    """Stages that recompute take longer, and a schedule that looks at costs is then another one."""
    fits, again, cases = 0, 0, usual(8, 24)
    for seed in range(cases):
        rng = random.Random(seed)
        hosts = rng.choice((2, 3))
        micros = rng.randint(2, 8)
        here = ground(rng, hosts, rng.randint(2 * hosts, 8), micros)
        for part in (1.0, 0.85):
            # Less than what it takes if it may.
            here = replace(here, problem=with_part(here.problem, part))
            prices = Prices(here, recompute)
            found = choose(prices, Allowed((hosts,), (schedule,), micros))
            if found is None:
                break
            fits += 1
            again += any(one.recompute for one in found.stages)
            check_room(found, prices.problem)
            made = prices.schedule(found.schedule, found.stages, found.wanted)
            assert made.in_flight == found.in_flight, f"case {seed}"
            here = replace(here, problem=replace(here.problem, room_bytes=np.array(taken(found, hosts))))
    assert fits > cases * 15 / 24 and (recompute == "auto" or again == fits)


@pytest.mark.parametrize("schedule", [*SCHEDULES, "auto"])
def test_layers_that_take_no_time_are_planned_too(schedule):
    nothing = Work(0.0, 0.0)
    costs = [LayerCost(f"{i:03d}_layer", nothing, nothing, nothing, 4, 4, 4, 4, 4, 4, 4, 0) for i in range(6)]
    plan = make_plan(costs, alike(2), job(4, schedule=schedule))
    assert np.isfinite(plan.step_s) and plan.bound_s <= plan.step_s
