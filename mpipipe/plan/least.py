"""What a way to cut and order takes at least, whatever the schedule and the limits; and the ways of most promise.

A host has all its work to do after the first micro-batch has come to it, its I only once that came back from the last
stage, and after the last I there the gradient must come back to the first stage, which has a W left to do. All ways
are looked at where they are few, and so are limits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.closed import message_s
from mpipipe.plan.kinds import count_orders, group_hosts, orders_of
from mpipipe.plan.limits import Limits, most_that_fit
from mpipipe.plan.memory import most_table
from mpipipe.plan.problem import RECOMPUTE, Problem, StageChoice, Stages
from mpipipe.plan.sharing import TASK_S
from mpipipe.plan.task_costs import stage_cost
from mpipipe.schedule import Placement

Place = Callable[[int, int], Placement]
"""Which stages each lane holds, of so many lanes and stages."""

FEW_WAYS = 250_000
"""Orders of hosts times cuts that are looked at."""
FEW_LIMITS = 256
"""Up to so many limits are all tried where they may be of use."""


def count_ways(problem: Problem, counts: Sequence[int], chunks: int = 1) -> int:
    """Orders of hosts times cuts, each host with so many stages; hosts that are alike make no other order."""
    orders = count_orders(group_hosts(problem), max(counts, default=0))
    return sum(orders[n] * math.comb(problem.layers - 1, n * chunks - 1) for n in counts)


def by_promise(
    problem: Problem, counts: Sequence[int], place: Place, chunks: int, seconds: float, recompute: str = "auto"
) -> Iterator[tuple[float, Stages]]:
    """All ways that take less than `seconds` at least, with what that is, the most promising first; none with a stage
    that its host has no room for."""
    modes = RECOMPUTE[recompute]
    most: Array = np.array([[most_table(problem, host, mode) for mode in modes] for host in range(problem.hosts)])
    fits: Array = most.max(axis=1) > 0
    found: list[tuple[float, int, int, int]] = []
    kinds, made = group_hosts(problem), {}
    for count in (count for count in counts if count * chunks <= problem.layers):
        lane = lanes_of(place(count, count * chunks))
        orders = np.array(list(orders_of(kinds, count)))[:, None, lane]
        inner = combinations(range(1, problem.layers), len(lane) - 1)
        cuts = np.array([[0, *some, problem.layers] for some in inner])[None, :, :]
        least = least_of_ways(problem, orders, cuts, lane)
        rows, columns = np.nonzero((least < seconds) & fits[orders, cuts[..., :-1], cuts[..., 1:]].all(axis=2))
        made[count] = orders, cuts
        found += zip(least[rows, columns].tolist(), [count] * len(rows), rows.tolist(), columns.tolist(), strict=True)
    for least_s, count, row, column in sorted(found):
        orders, cuts = made[count]
        order, edges = orders[row, 0].tolist(), cuts[0, column].tolist()
        yield least_s, tuple(map(StageChoice, order, edges, edges[1:]))


def lanes_of(placement: Placement) -> list[int]:
    """The lane of each stage."""
    return [lane for _, lane in sorted((stage, lane) for lane, held in enumerate(placement) for stage in held)]


def least_of_ways(problem: Problem, orders: Array, cuts: Array, lane: Sequence[int]) -> Array:
    """Seconds (orders, cuts) of stages on these hosts (orders, 1, stages), each with its lane, at these cuts
    (1, cuts, stages + 1)."""
    forward, back, weight = (
        _sums(table, orders, cuts) for table in (problem.forward_s, problem.input_s, problem.weight_s)
    )
    forward, back = forward + TASK_S, back + TASK_S
    threads, link = problem.threads[orders], (orders[..., :-1], orders[..., 1:])
    message = problem.latency_s[link] + problem.boundary_bytes[cuts[..., 1:-1] - 1] / problem.bandwidth[link]
    there, home = np.zeros(forward.shape), np.zeros(forward.shape)
    there[..., 1:] = np.cumsum(forward[..., :-1] + message, axis=2)
    home[..., 1:] = np.cumsum(back[..., :-1] + message, axis=2)
    beyond = np.zeros(forward.shape)
    both = (forward + back)[..., 1:] + 2 * message
    beyond[..., :-1] = np.cumsum(both[..., ::-1], axis=2)[..., ::-1]
    last = weight[..., :1] / threads[..., :1]
    # A stage's first I waits for its micro-batch to come back, and all I and W come after; the last F has yet to go
    # there and back.
    all_forward, all_back, all_weight = (problem.micros * each / threads for each in (forward, back, weight))
    own = there + forward + beyond + all_back + np.maximum(all_weight, home + last)
    np.maximum(own, there + np.maximum(forward, all_forward) + beyond + back + home + last, out=own)
    # All that a host does, by its first stage: the other stages' is nothing more.
    for host in sorted(set(lane)):
        held = [s for s, one in enumerate(lane) if one == host]
        s = held[0]
        urgent, late = (all_forward + all_back)[..., held].sum(axis=2), all_weight[..., held].sum(axis=2)
        all_own = there[..., s] + urgent + np.maximum(late, home[..., s] + last[..., 0])
        np.maximum(own[..., s], all_own, out=own[..., s])
    found: Array = own.max(axis=2)
    return found


def promising_limits(
    problem: Problem, stages: Sequence[StageChoice], most: int, seconds: float, recompute: str = "auto"
) -> list[Limits]:
    """All limits that fit and may take less than `seconds`; none of them where they are too many.

    A stage that has K micro-batches on their way, each for a trip of at least the F and I of all stages from there on
    and its own W, needs a trip for every K of them once the first has come to it.
    """
    fits = most_that_fit(problem, stages, most, recompute)
    if math.prod(fits) > FEW_LIMITS:
        return []
    arrivals, trips, beyond, arrival = [], [], 0.0, 0.0
    for s, stage in enumerate(stages):
        arrivals.append(arrival)
        arrival += stage_cost(problem, stage).forward_s
        arrival += message_s(problem, stage, stages[s + 1]) if s + 1 < len(stages) else 0.0
    for s in reversed(range(len(stages))):
        cost = stage_cost(problem, stages[s])
        beyond += cost.forward_s + cost.input_s
        beyond += 2 * message_s(problem, stages[s], stages[s + 1]) if s + 1 < len(stages) else 0.0
        trips.append(beyond + cost.weight_s / float(problem.threads[stages[s].host]))
    every = np.array(list(product(*(range(1, fit + 1) for fit in fits))))
    least = (np.array(arrivals) + problem.micros * np.array(trips[::-1]) / every).max(axis=1)
    return [tuple(limits) for limits in every[least < seconds].tolist()]


def _sums(table: Array, orders: Array, cuts: Array) -> Array:
    sums = np.concatenate([np.zeros((len(table), 1)), np.cumsum(table, axis=1)], axis=1)
    found: Array = sums[orders, cuts[..., 1:]] - sums[orders, cuts[..., :-1]]
    return found
