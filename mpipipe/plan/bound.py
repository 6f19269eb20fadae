"""How fast any plan could be at the best: bounds on the step time that no schedule can go below, whatever it is.

- Fractional: were layers divisible at will, all hosts would be busy to the end. For any weights y >= 0 of the hosts
  that sum to 1, the work of layer l costs at least min over h of y_h t_hl, so m times the sum of these over the layers
  is a bound (duality of linear programs). It holds where a rank has several chunks, too.
- Path: the first micro-batch goes through F and I of all layers, one after another, and where n hosts have a share,
  n - 1 messages there and back. With one stage a rank, the stage with most to do has all other F, or all other I, yet
  to do when the first has gone by.
- Delay: of n hosts, the first micro-batch comes to the k-th after k - 1 messages at the least, and after its last I
  there as many are needed on the way back. Weighted by y, that adds to the fractional bound of n hosts, for which the
  n largest weights need sum to 1, not all. Path and delay hold for the number of hosts for which they are least.
- Share: where every host must have a layer, each has at least its cheapest.
- Chain, for one stage a rank: a stage with all of its layers' work for m micro-batches cannot begin before the first
  has come through all stages before it: m * period_s + sum over r < s of (F_r + c_r) <= T for every stage s. The least
  T for which a pipeline with that property exists, hosts and order free, memory for one micro-batch in flight, is a
  bound. Whether one exists is found by the least sum over the stages before, since less of it never hurts.
"""

from collections.abc import Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.closed import LIMITED
from mpipipe.plan.cover import least_period
from mpipipe.plan.kinds import Level, count_states, group_hosts, multisets
from mpipipe.plan.problem import Problem
from mpipipe.plan.reach import Tables, tabulate
from mpipipe.plan.sharing import places_of, shared_cores

ROUNDS, FINE = 200, 1e-4
"""Steps towards the best weights; how near to the least T the chain's bound comes, always from below."""
MOST_CELLS, MOST_STATES = 500_000, 200_000
"""States times kinds times layers that the chain's bound looks at, and states that the slowest stage alone is for."""


def lower_bound(problem: Problem, chunked: bool, counts: Sequence[int]) -> float:
    """Seconds that no step is shorter than; `chunked` where a rank may hold several stages."""
    urgent = pooled(problem, problem.forward_s + problem.input_s)
    busy = urgent + pooled(problem, problem.weight_s)
    path = _path(problem, chunked, counts)
    if len(busy) == problem.hosts:
        found = min(map(max, _work(problem, busy, 1, counts), _work(problem, urgent, 2, counts), path))
    else:  # so many ranks are on as many computers, or on fewer
        fewer = range(1, min(max(counts), len(busy)) + 1)
        work = min(map(max, _work(problem, busy, 1, fewer), _work(problem, urgent, 2, fewer)))
        found, busy = max(work, min(path)), (problem.forward_s + problem.input_s) / problem.threads[:, None]
        busy = busy + problem.weight_s / problem.threads[:, None]
    if min(counts) == problem.hosts:
        found = max(found, problem.micros * float(busy.min(axis=1).max()))
    if chunked:
        return found
    kinds = group_hosts(problem)
    sizes, most = [len(kind) for kind in kinds], min(max(counts), problem.layers)
    if count_states(sizes) > MOST_STATES:
        return found
    tables, levels = tabulate(problem, kinds, LIMITED, "auto"), multisets(sizes, most)
    period = least_period(tables, levels)
    if not np.isfinite(period):
        return found
    found = max(found, problem.micros * period)
    if count_states(sizes) * len(kinds) * problem.layers <= MOST_CELLS:
        found = max(found, _chain(problem, tables, levels, counts, found))
    return found


def pooled(problem: Problem, seconds: Array) -> Array:
    """Of work that takes one thread of a rank `seconds` (H, L): seconds (rows, layers) with all that can be put to it,
    a row for each rank or, where its ranks share too few cores, for each computer (of what does not sleep)."""
    alone = seconds / problem.threads[:, None]
    shared = shared_cores(places_of(problem, range(problem.hosts)))
    awake = seconds * (1 - problem.sleeping_parts) if shared else seconds
    ranks = sorted(set(range(problem.hosts)) - {rank for cores in shared for rank in cores.lanes})
    return np.array([*alone[ranks], *(awake[list(cores.lanes)].min(axis=0) / cores.count for cores in shared)])


def fractional(busy: Array) -> float:
    """Seconds of work (hosts, layers), were all layers divisible, by the best weights found."""
    return _priced(busy, _best_weights(busy))


def _priced(busy: Array, weights: Array) -> float:
    return float((weights[:, None] * busy).min(axis=0).sum())


def _best_weights(busy: Array) -> Array:
    weights: Array = 1 / np.maximum(busy.sum(axis=1), 1e-300)
    weights /= weights.sum()
    best, found = -1.0, weights
    for step in range(ROUNDS):
        priced = weights[:, None] * busy
        value = float(priced.min(axis=0).sum())
        if value > best:
            best, found = value, weights
        # A host that is given more than others at these prices is too cheap: its weight goes up.
        cheapest = priced.argmin(axis=0)
        load = np.bincount(cheapest, busy[cheapest, np.arange(busy.shape[1])], len(weights))
        mean = load.mean()
        if mean <= 0:
            break
        weights = weights * np.exp((load / mean - 1) / (4 * (step + 1)))
        weights /= weights.sum()
    return found


def _work(problem: Problem, busy: Array, messages: int, counts: Sequence[int]) -> list[float]:
    """By the number of hosts: all of this work, so many `messages` later on each host than on the one before."""
    weights = _best_weights(busy)
    rising, all_s = np.sort(weights), problem.micros * _priced(busy, weights)
    found = []
    for n in counts:
        late = float(rising[:n][::-1] @ np.arange(n)) * messages * _least_message(problem)
        found.append((all_s + late) / float(rising[-n:].sum()))
    return found


def _path(problem: Problem, chunked: bool, counts: Sequence[int]) -> list[float]:
    """By the number of hosts: the first micro-batch's way."""
    way = float((problem.forward_s + problem.input_s).min(axis=0).sum())
    more = max(0.0, problem.micros / float(problem.threads.max()) - 1) * (not chunked)
    return [way + 2 * (n - 1) * _least_message(problem) + more * way / (2 * n) for n in counts]


def _least_message(problem: Problem) -> float:
    """Seconds of the shortest message between two hosts, whatever it is."""
    pairs = ~np.eye(problem.hosts, dtype=bool)
    if problem.hosts < 2 or problem.layers < 2:
        return 0.0
    each = problem.latency_s + problem.boundary_bytes[:-1].min() / problem.bandwidth
    return float(each[pairs].min())


def _chain(problem: Problem, tables: Tables, levels: Sequence[Level], counts: Sequence[int], at_least: float) -> float:
    forward = np.array([[0.0, *np.cumsum(problem.forward_s[kind[0]])] for kind in tables.kinds])
    if at_least <= 0:
        return 0.0
    low, high = at_least, at_least * 1.01
    while not _exists(problem, tables, levels, counts, forward, high):
        low, high = high, high * 1.3
        if not np.isfinite(high) or high > 1e6 * max(at_least, 1e-9):
            return at_least
    while high - low > FINE * high:
        middle = (low + high) / 2
        if _exists(problem, tables, levels, counts, forward, middle):
            high = middle
        else:
            low = middle
    return low


def _exists(
    problem: Problem, tables: Tables, levels: Sequence[Level], counts: Sequence[int], forward: Array, step_s: float
) -> bool:
    """Whether the layers can be covered so that no stage ends after `step_s`. q: least F and c before each cut."""
    layers, kinds = tables.layers, len(tables.kinds)
    q: Array = np.full((1, kinds, layers + 1), np.inf)
    q[..., 0] = 0.0
    for n, level in enumerate(levels[1:], 1):
        wider = np.full((len(level.counts), kinds, layers + 1), np.inf)
        for u, (here, before) in enumerate(level.before):
            if len(here):
                wider[here, u] = _add_stage(tables, _arrivals(tables, q, u, n == 1)[before], forward, u, step_s)
        q = wider
        if n in counts and np.isfinite(q[:, :, -1]).any():
            return True
    return False


def _arrivals(tables: Tables, q: Array, u: int, first: bool) -> Array:
    """When the first micro-batch comes to a host of kind u, by state and cut."""
    if first:
        return q[:, 0]
    tolls = tables.latency[:, u] + tables.wire[:, u]
    found: Array = (q + tolls[None]).min(axis=1)
    return found


def _add_stage(tables: Tables, arrival: Array, forward: Array, u: int, step_s: float) -> Array:
    layers, micros = tables.layers, tables.micros
    found = np.full(arrival.shape, np.inf)
    modes = tables.modes[u]
    plain = modes[0]
    for width in range(1, layers + 1):
        firsts = layers - width + 1
        busy = micros * (plain.busy[width:] - plain.busy[:firsts])
        fits = np.any([mode.most.diagonal(width) > 0 for mode in modes], axis=0) & (busy <= step_s)
        if not fits.any():
            if busy.min() > step_s:
                break
            continue
        begins = arrival[:, :firsts]
        ends = begins + (forward[u, width:] - forward[u, :firsts])
        ends = np.where(fits & (begins + busy <= step_s), ends, np.inf)
        np.minimum(found[:, width:], ends, out=found[:, width:])
    return found
