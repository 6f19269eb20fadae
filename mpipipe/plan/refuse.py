"""A job that fits nowhere: the least memory that would do, on which hosts, and what else would help."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

import numpy as np

from mpipipe.errors import PlanError
from mpipipe.layers import Array
from mpipipe.plan.allowed import Allowed, family
from mpipipe.plan.closed import ALL
from mpipipe.plan.memory import stage_bytes, usual_gradients
from mpipipe.plan.price import Prices
from mpipipe.plan.problem import Problem, Stages, ways
from mpipipe.plan.search import best

FINE = 1.0005
"""How near to the least memory the search comes."""


def refuse(prices: Prices, what: Allowed, cuts: Stages | None, reserved: Mapping[int, int]) -> NoReturn:
    """PlanError naming every host that is short, by how many bytes. `cuts` are stages made by hand, if they were."""
    problem, ground = prices.problem, prices.ground
    kind = family(what)
    micros = problem.micros if kind == ALL else 1
    aside = np.array([reserved.get(host.rank, 0) for host in ground.hosts])
    stages = cuts or _least(problem, kind, what, prices.recompute, aside)
    lines, most = [], 0
    for stage in stages:
        host, have = ground.hosts[stage.host], int(problem.room_bytes[stage.host])
        gradients = usual_gradients(micros, int(problem.threads[stage.host]))
        needed = min(stage_bytes(problem, one, micros, gradients) for one in ways(stage, prices.recompute))
        if needed <= have:
            continue
        most = max(most, needed + int(aside[stage.host]))
        lines.append(
            f"host {host.name} (rank {host.rank}) is short by {needed - have:,} bytes: layers "
            f"{ground.names[stage.first]} to {ground.names[stage.last - 1]} take {needed:,} bytes, "
            f"{max(0, have):,} are available"
        )
    others = [f"rank {rank} sets aside {size:,} bytes for other things" for rank, size in reserved.items()]
    found = "; ".join([*(lines or ["the layers fit no order of the hosts"]), *others])
    needed_text = "every stage within its host's memory"
    if most:
        needed_text += f"; {most:,} available bytes would do, on each of the hosts named"
    help_ = "a smaller train.micro_batch, more ranks, plan.schedule=1f1b, train.optimizer=sgd, or more memory"
    fits = None if cuts else best(problem, kind, range(1, len(ground.hosts) + 1), prices.recompute)
    remedy = f"help: plan.ranks={len(fits.stages)} fits; or {help_}" if fits else f"help: {help_}"
    raise PlanError("plan", found, needed_text, remedy)


def _least(problem: Problem, kind: str, what: Allowed, recompute: str, aside: Array) -> Stages:
    """The plan for the least memory r that would do if every host had at least r, less what it sets aside."""
    whole = problem.fixed_bytes.sum() + (problem.micros + 1) * (problem.saved_bytes + problem.held_bytes).sum()
    whole += int(problem.threads.max()) * (problem.scratch_bytes.max() + problem.saved_bytes.sum())
    whole += 2 * problem.micros * problem.input_bytes.max()
    low, high = 1.0, float(whole + aside.max())
    found: Stages = ()
    while high > low * FINE:
        middle = (low * high) ** 0.5
        choice = best(_with_room(problem, middle - aside), kind, what.counts, recompute, near=1.0)
        if choice is None:
            low = middle
        else:
            found, high = choice.stages, middle
    if not found:
        choice = best(_with_room(problem, high - aside), kind, what.counts, recompute, near=1.0)
        found = choice.stages if choice else ()
    return found


def _with_room(problem: Problem, room: Array) -> Problem:
    return replace(problem, room_bytes=np.maximum(problem.room_bytes, room.astype(np.int64)))
