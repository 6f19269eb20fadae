"""The simulated step by trying everything: all orders of all choices of hosts, all cuts, all in-flight limits.

A way whose proven least step is not below what is to be beaten cannot beat it, and is not simulated.
"""

import itertools

import numpy as np

from mpipipe.plan.problem import StageChoice
from mpipipe.schedule import SCHEDULES


def faster_way(prices, schedule, counts, most, seconds):
    """The fastest candidate that takes less than `seconds`; None where there is none."""
    best = None
    for count in counts:
        for stages, arrival, trip in promising_ways(prices.problem, count, seconds):
            for limits in every_limits(schedule, count, most):
                if (arrival + prices.problem.micros * trip / limits).max() >= seconds:
                    continue
                priced = prices.of(schedule, stages, limits)
                if priced is not None and priced.step_s < seconds:
                    best, seconds = priced, priced.step_s
    return best


def best_dealt(prices, schedule, counts, most):
    """The fastest candidate of a schedule with several stages a rank, all of them priced; None where nothing fits."""
    recipe, problem, found = SCHEDULES[schedule], prices.problem, []
    for count in (count for count in counts if count > 1):
        stages = count * recipe.chunks
        places = sorted((s, lane) for lane, held in enumerate(recipe.place(count, stages)) for s in held)
        for order in itertools.permutations(range(problem.hosts), count):
            for inner in itertools.combinations(range(1, problem.layers), stages - 1):
                edges = (0, *inner, problem.layers)
                way = tuple(StageChoice(order[lane], edges[s], edges[s + 1]) for s, lane in places)
                found += [prices.of(schedule, way, (most,) * stages)]
    return min((one for one in found if one is not None), key=lambda one: one.step_s, default=None)


def every_limits(schedule, count, most):
    """1F1B gives no stage a higher limit than the one before it; gpipe does not ask."""
    if schedule == "gpipe":
        return [(most,) * count]
    found = itertools.product(range(most, 0, -1), repeat=count)
    return [each for each in found if schedule != "1f1b" or sorted(each, reverse=True) == list(each)]


def promising_ways(problem, count, seconds):
    """Stages, with the seconds until the first micro-batch comes to each, and those of a micro-batch from its F there
    to its W; those of least promise last."""
    orders = np.array(list(itertools.permutations(range(problem.hosts), count)))[:, None, :]
    inner = list(itertools.combinations(range(1, problem.layers), count - 1))
    cuts = np.array([[0, *some, problem.layers] for some in inner])[None, :, :]
    forward, back, weight = (
        _stage_sums(table, orders, cuts) for table in (problem.forward_s, problem.input_s, problem.weight_s)
    )
    threads, link = problem.threads[orders], (orders[..., :-1], orders[..., 1:])
    message = problem.latency_s[link] + problem.boundary_bytes[cuts[..., 1:-1] - 1] / problem.bandwidth[link]
    nothing = np.zeros((*forward.shape[:2], 1))
    arrival = np.cumsum(np.concatenate([nothing, forward[..., :-1] + message], axis=2), axis=2)
    home = np.cumsum(np.concatenate([nothing, back[..., :-1] + message], axis=2), axis=2)
    beyond = np.cumsum((forward + back)[..., ::-1], axis=2)[..., ::-1]
    beyond[..., :-1] += 2 * np.cumsum(message[..., ::-1], axis=2)[..., ::-1]
    trip = beyond + weight / threads
    busy = problem.micros * (forward + back + weight) / threads
    urgent = problem.micros * (forward + back) / threads
    # All its work, from when the first comes; and before the end, the last must get home, and its W be done there.
    least = np.maximum(arrival + busy, arrival + urgent + home + (weight[..., :1] / threads[..., :1]) * (home > 0))
    least = least.max(axis=2)
    for row, column in zip(*np.unravel_index(np.argsort(least, axis=None), least.shape), strict=True):
        if least[row, column] >= seconds:
            return
        edges, order = cuts[0, column], orders[row, 0]
        stages = tuple(
            StageChoice(int(host), int(a), int(b)) for host, a, b in zip(order, edges, edges[1:], strict=False)
        )
        yield stages, arrival[row, column], trip[row, column]


def _stage_sums(table, orders, cuts):
    sums = np.concatenate([np.zeros((len(table), 1)), np.cumsum(table, axis=1)], axis=1)
    return sums[orders, cuts[..., 1:]] - sums[orders, cuts[..., :-1]]
