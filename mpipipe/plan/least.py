"""What a way to cut and order takes at least, whatever the schedule and the limits; and the ways of most promise.

A stage has all its work to do after the first micro-batch has come to it, and after the last I there the gradient must
come back to the first stage, which has a W left to do. All ways are looked at where they are few: a vector each.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.problem import Problem, StageChoice, Stages

FEW_WAYS = 200_000
"""Orders of hosts times cuts that are looked at."""


def count_ways(problem: Problem, counts: Sequence[int]) -> int:
    """Orders of hosts times cuts."""
    return sum(math.perm(problem.hosts, n) * math.comb(problem.layers - 1, n - 1) for n in counts)


def by_promise(problem: Problem, counts: Sequence[int], seconds: float) -> Iterator[tuple[float, Stages]]:
    """All ways that take less than `seconds` at least, with what that is, the most promising first."""
    found: list[tuple[float, int, int, int]] = []
    made = {}
    for count in counts:
        orders = np.array(list(permutations(range(problem.hosts), count)))[:, None, :]
        inner = combinations(range(1, problem.layers), count - 1)
        cuts = np.array([[0, *some, problem.layers] for some in inner])[None, :, :]
        least = least_of_ways(problem, orders, cuts)
        rows, columns = np.nonzero(least < seconds)
        made[count] = orders, cuts
        found += zip(least[rows, columns].tolist(), [count] * len(rows), rows.tolist(), columns.tolist(), strict=True)
    for least_s, count, row, column in sorted(found):
        orders, cuts = made[count]
        order, edges = orders[row, 0].tolist(), cuts[0, column].tolist()
        yield least_s, tuple(map(StageChoice, order, edges, edges[1:]))


def least_of_ways(problem: Problem, orders: Array, cuts: Array) -> Array:
    """Seconds (orders, cuts) of hosts in these orders (orders, 1, stages) at these cuts (1, cuts, stages + 1)."""
    forward, back, weight = (
        _sums(table, orders, cuts) for table in (problem.forward_s, problem.input_s, problem.weight_s)
    )
    threads, link = problem.threads[orders], (orders[..., :-1], orders[..., 1:])
    message = problem.latency_s[link] + problem.boundary_bytes[cuts[..., 1:-1] - 1] / problem.bandwidth[link]
    there, home = np.zeros(forward.shape), np.zeros(forward.shape)
    there[..., 1:] = np.cumsum(forward[..., :-1] + message, axis=2)
    home[..., 1:] = np.cumsum(back[..., :-1] + message, axis=2)
    own = problem.micros * (forward + back + weight) / threads
    urgent = problem.micros * (forward + back) / threads + weight[..., :1] / threads[..., :1]
    found: Array = np.maximum(there + own, there + urgent + home).max(axis=2)
    return found


def _sums(table: Array, orders: Array, cuts: Array) -> Array:
    sums = np.concatenate([np.zeros((len(table), 1)), np.cumsum(table, axis=1)], axis=1)
    found: Array = sums[orders, cuts[..., 1:]] - sums[orders, cuts[..., :-1]]
    return found
