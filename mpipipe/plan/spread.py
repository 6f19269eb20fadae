"""Layers dealt to hosts that hold several stages each: in proportion to their speeds first, then evened out.

No exact search here: for a schedule with chunks this is only where the changes priced by simulation start from.
"""

from collections.abc import Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.least import lanes_of
from mpipipe.plan.problem import Problem, StageChoice, Stages
from mpipipe.schedule import Placement

ROUNDS = 400
"""Changes to one cut that are made at the most."""
STEPS = (1, -1, 2, -2, 4, -4)
"""Layers that a cut moves by: past one that is long on the host that would take it, too."""


def spread(problem: Problem, hosts: Sequence[int], placement: Placement) -> Stages:
    """Stages by the placement, its lane n on host n of `hosts`, so that no host has much more to do than others."""
    busy = (problem.forward_s + problem.input_s + problem.weight_s) / problem.threads[:, None]
    owner = [hosts[lane] for lane in lanes_of(placement)]
    sums = np.concatenate([np.zeros((problem.hosts, 1)), np.cumsum(busy, axis=1)], axis=1)
    edges = _even(sums, owner, _shares(problem, busy, owner))
    return tuple(StageChoice(owner[s], int(edges[s]), int(edges[s + 1])) for s in range(len(owner)))


def _shares(problem: Problem, busy: Array, owner: Sequence[int]) -> Array:
    """Cuts in proportion to the speed of each stage's host over its number of stages, each stage at least one layer."""
    speed = np.array([1 / max(float(busy[host].sum()), 1e-300) / owner.count(host) for host in owner])
    work = np.cumsum(busy[sorted(set(owner))].mean(axis=0))
    edges = [0]
    for share in (np.cumsum(speed) / speed.sum())[:-1]:
        wanted = int(np.searchsorted(work, work[-1] * share)) + 1
        edges.append(min(max(wanted, edges[-1] + 1), problem.layers - (len(owner) - len(edges))))
    return np.array([*edges, problem.layers])


def _even(sums: Array, owner: Sequence[int], edges: Array) -> Array:
    """Move one cut at a time by a few layers, as long as the loads get more even, the largest above all."""
    stages = np.array(owner)

    def loads(at: Array) -> tuple[float, float]:
        each = np.bincount(stages, sums[stages, at[1:]] - sums[stages, at[:-1]])
        return float(each.max()), float((each**2).sum())

    best = loads(edges)
    for _ in range(ROUNDS):
        moved = [_moved(edges, cut, step) for cut in range(1, len(edges) - 1) for step in STEPS]
        priced = [(loads(at), n) for n, at in enumerate(moved) if (np.diff(at) > 0).all()]
        if not priced or min(priced)[0] >= best:
            break
        best, n = min(priced)
        edges = moved[n]
    return edges


def _moved(edges: Array, cut: int, step: int) -> Array:
    at = edges.copy()
    at[cut] += step
    return at
