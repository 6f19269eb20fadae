"""Rules that other systems cut models by, to compare with: each takes the hosts in the order of the hostfile.

None looks at links, at how unlike the hosts are, or at whether a stage fits; that is the point.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.problem import Problem, StageChoice, Stages

Rule = Callable[[Problem], Stages]


def by_count(problem: Problem) -> Stages:
    """Equal numbers of layers, as near as can be; the first stages have the ones left over."""
    hosts = min(problem.hosts, problem.layers)
    return _cut(problem, [round(problem.layers * n / hosts) for n in range(1, hosts)])


def by_parameters(problem: Problem) -> Stages:
    """Equal bytes of weights, gradients and state (DeepSpeed's `partition_balanced` by parameters, which makes the
    largest part least)."""
    return _cut(problem, _balanced(problem.fixed_bytes + 1e-9, problem))


def by_memory(problem: Problem) -> Stages:
    """Numbers of layers in proportion to each host's free memory (as exo does)."""
    hosts = min(problem.hosts, problem.layers)
    room = np.maximum(problem.room_bytes[:hosts], 1)
    return _cut(problem, [round(problem.layers * part) for part in np.cumsum(room)[:-1] / room.sum()])


def by_time(problem: Problem) -> Stages:
    """The slowest stage least, were all hosts like the first (torchgpipe's `balance_by_time` measures on one)."""
    return _cut(problem, _balanced((problem.forward_s + problem.input_s + problem.weight_s)[0], problem))


def _balanced(cost: Array, problem: Problem) -> list[int]:
    """Cuts into one part a host so that the largest part is least, found by bisection on it."""
    parts, sums = min(problem.hosts, problem.layers), np.concatenate([[0.0], np.cumsum(cost)])
    low, high = float(np.max(cost)), float(sums[-1])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_greedy(sums, middle)) <= parts else (middle, high)
    return _greedy(sums, high)[:-1]


def _greedy(sums: Array, most: float) -> list[int]:
    ends, at = [], 0
    while at < len(sums) - 1:
        at = max(at + 1, int(np.searchsorted(sums, sums[at] + most * (1 + 1e-12), side="right")) - 1)
        ends.append(at)
    return ends


def _cut(problem: Problem, cuts: Sequence[int]) -> Stages:
    """One stage for each host at these cuts, moved where a stage would have no layer."""
    hosts, layers = min(problem.hosts, problem.layers), problem.layers
    edges = [0]
    for n in range(1, hosts):
        wanted = cuts[n - 1] if n <= len(cuts) else layers
        edges.append(min(max(int(wanted), edges[-1] + 1), layers - (hosts - n)))
    edges.append(layers)
    return tuple(StageChoice(host, edges[host], edges[host + 1]) for host in range(hosts))
