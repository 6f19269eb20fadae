"""The closed form by trying everything: all orders of all choices of hosts, all cuts, recomputing or not.

A reference for the search, written from the formulae alone; it shares no code with what it checks. All choices of so
many stages are evaluated at once, as arrays (orders, cuts, who recomputes).
"""

import itertools
import math

import numpy as np

AT_ONCE = 200_000
"""Choices in one array."""


def least_seconds(problem, family, counts, recompute):
    """The least closed form with any of these numbers of stages; infinite where nothing fits."""
    ways = {"auto": (False, True), "always": (True,), "never": (False,)}[recompute]
    tables = [[stage_table(problem, family, host, again) for again in ways] for host in range(problem.hosts)]
    parts = [np.array([[table[part] for table in each] for each in tables]) for part in range(3)]
    counts = [count for count in counts if count <= min(problem.hosts, problem.layers)]
    return min((_least(problem, count, len(ways), parts) for count in counts), default=math.inf)


def stage_table(problem, family, host, again):
    """Arrays (first, last + 1): seconds of one micro-batch's way, seconds that it keeps all threads busy, and the most
    in flight, nought where not as many fit as the family needs."""
    size, threads = problem.layers + 1, int(problem.threads[host])
    way, busy, most = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for first, last in itertools.combinations(range(size), 2):
        part = slice(first, last)
        f, i, w = (float(t[host, part].sum()) for t in (problem.forward_s, problem.input_s, problem.weight_s))
        i += f if again else 0
        way[first, last] = f + i + w / threads
        busy[first, last] = (f + i + w) / threads
        for k in range(problem.micros if family == "all" else 1, problem.micros + 1):
            if stage_bytes(problem, threads, first, last, again, k) <= int(problem.room_bytes[host]):
                most[first, last] = k
    return way, busy, most


def stage_bytes(problem, threads, first, last, again, k):
    """`k` micro-batches between F and W, and one for each thread, and one more, between I and W."""
    part = slice(first, last)
    gradients, edge = min(k, threads + 1), int(problem.input_bytes[first])
    saved, held = int(problem.saved_bytes[part].sum()), int(problem.held_bytes[part].sum()) + edge
    other = int(problem.fixed_bytes[part].sum()) + gradients * held + threads * int(problem.scratch_bytes[part].max())
    if not again:
        return other + k * (saved + edge)
    # Kept whatever is worked out again: the input, and of the output what the next stage and the loss read.
    loss = int(problem.loss_bytes[last - 1])
    kept = edge + int(problem.boundary_bytes[last - 1]) + loss
    return other + k * kept + (threads + gradients) * (saved - loss)


def _least(problem, count, ways, tables):
    orders = np.array(list(itertools.permutations(range(problem.hosts), count)))[:, None, None, :]
    inner = list(itertools.combinations(range(1, problem.layers), count - 1))
    cuts = np.array([[0, *some, problem.layers] for some in inner])[None, :, None, :]
    again = np.array(list(itertools.product(range(ways), repeat=count)))[None, None, :, :]
    parts = max(1, len(orders) * len(inner) * again.shape[2] // AT_ONCE)
    return min(_least_of(problem, some, cuts, again, tables) for some in np.array_split(orders, parts))


def _least_of(problem, orders, cuts, again, tables):
    total = slowest = 0.0
    fits = True
    for s in reversed(range(orders.shape[3])):
        host = orders[..., s]
        way, busy, most = (table[host, again[..., s], cuts[..., s], cuts[..., s + 1]] for table in tables)
        if s + 1 < orders.shape[3]:
            link = host, orders[..., s + 1]
            wire = problem.boundary_bytes[cuts[..., s + 1] - 1] / problem.bandwidth[link]
            total = total + 2 * (problem.latency_s[link] + wire)
            slowest = np.maximum(slowest, wire)
        total, fits = total + way, fits & (most >= 1)
        waits = np.where(most < problem.micros, total / np.maximum(most, 1), 0)
        slowest = np.maximum(np.maximum(slowest, busy), waits)
    return float(np.where(fits, total + (problem.micros - 1) * slowest, np.inf).min())
