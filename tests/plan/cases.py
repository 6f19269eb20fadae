"""Random layers and hosts that differ in everything, and short ways to make jobs and clusters."""

import random
from dataclasses import replace

import numpy as np

from mpipipe.job import Job
from mpipipe.layers import LayerCost, Work
from mpipipe.plan.problem import Problem
from mpipipe.plan.reckon import Ground, survey_ground
from mpipipe.resources.cluster import Cluster, Host

PLENTY = 1 << 50


def layer(rng, number, input_bytes):
    """Some layers have no weights, some no matrix products."""
    out, weights = 100 * rng.randint(1, 40), rng.choice((0, 0, 100 * rng.randint(1, 50)))
    forward = Work(rng.choice((0.0, 1e6 * rng.random())), 1e4 * rng.random())
    return LayerCost(
        name=f"{number:03d}_layer",
        forward=forward,
        grad_input=forward,
        grad_weight=Work(forward.flops, 0.0),
        weight_bytes=weights,
        gradient_bytes=weights,
        state_bytes=2 * weights,
        input_bytes=input_bytes,
        boundary_bytes=out,
        saved_bytes=out + 100 * rng.randint(0, 20),
        held_bytes=out + 100 * rng.randint(0, 5),
        scratch_bytes=100 * rng.randint(0, 10),
    )


def layers(rng, count):
    found = []
    input_bytes = 100 * rng.randint(1, 40)
    for number in range(count):
        found.append(layer(rng, number, input_bytes))
        input_bytes = found[-1].boundary_bytes
    return found


def equal_layers(count, weight_bytes=400, out=400):
    """Layers whose F, I and W take a tenth of a second each at 1e9 flop/s, so that little things do not count."""
    work = Work(1e8, 0.0)
    return [
        LayerCost(f"{i:03d}_layer", work, work, work, *[weight_bytes] * 3, out, out, out, out, 0) for i in range(count)
    ]


def host(rank, **more):
    values = {
        "rank": rank,
        "name": f"mini{rank}",
        "ip": "",
        "ram_bytes": PLENTY,
        "available_bytes": PLENTY,
        "threads": 1,
        "matrix_flops": 1e9,
        "elements": 1e9,
    }
    return Host(**{**values, **more})


def random_host(rng, rank, available_bytes=PLENTY):
    return host(
        rank,
        available_bytes=available_bytes,
        threads=rng.randint(1, 4),
        matrix_flops=rng.choice((1e8, 2e8, 1e7 + 1e9 * rng.random())),
        elements=rng.choice((1e6, 1e7, 1e8)),
    )


def cluster(*hosts):
    return Cluster(tuple(hosts))


def alike(count, **more):
    return cluster(*(host(rank, **more) for rank in range(count)))


def random_cluster(seed, count, tight=None, twins=0.3):
    """`tight` is about what a host has; None where memory is free."""
    rng = random.Random(seed)
    hosts = []
    for rank in range(count):
        room = PLENTY if tight is None else int(tight * rng.uniform(0.2, 1.2))
        twin = hosts and rng.random() < twins
        hosts.append(replace(rng.choice(hosts), rank=rank) if twin else random_host(rng, rank, room))
    return cluster(*hosts)


def job(micros=8, micro_batch=4, optimizer="adamw", **plan):
    """A job of so many micro-batches, with settings of its [plan] table."""
    base = Job()
    train = replace(base.train, batch=micros * micro_batch, micro_batch=micro_batch, optimizer=optimizer, steps=1)
    return replace(base, train=train, plan=replace(base.plan, **plan))


def problem_of(costs, hosts, micros=8):
    """The numbers that the planner works with."""
    return survey_ground(costs, cluster(*hosts), micros, 4, {}).problem


def random_problem(rng, hosts, layers, micros, tight=None, links="unequal", twins=0.3):
    """Everything differs, but for the twins of a host. `tight` is what part of the whole model a host has room for,
    about; None where memory is free."""
    r = np.random.default_rng(rng.randrange(1 << 32))
    base = r.uniform(0.1, 2, layers) * r.choice((1, 1, 1, 0.1, 0), layers)
    seconds = r.uniform(0.3, 3, (1, hosts, 1)) * base * r.uniform(0.5, 1.5, (3, hosts, layers))
    seconds += 1e-3  # as no layer takes no time
    boundary = r.integers(1, 60, layers)
    sizes = {
        "fixed_bytes": r.integers(0, 60, layers),
        "saved_bytes": (boundary + r.integers(0, 40, layers)) * r.choice((1, 8)),
        "held_bytes": boundary + r.integers(0, 10, layers),
        "input_bytes": np.concatenate([[r.integers(1, 60)], boundary[:-1]]),
        "scratch_bytes": r.integers(0, 40, layers),
        "boundary_bytes": boundary,
        "tiles": r.integers(1, 4, layers),
        "weight_flops": r.choice((0.0, 6e7, 4e8), layers),
        "loss_bytes": np.array([0] * (layers - 1) + [r.integers(0, boundary[-1] + 1)]),
    }
    whole = sizes["fixed_bytes"].sum() + min(micros, 3) * (sizes["saved_bytes"] + sizes["held_bytes"]).sum()
    room = np.full(hosts, PLENTY) if tight is None else (whole * tight * r.uniform(0.3, 1.5, hosts)).astype(np.int64)
    threads = r.integers(1, 4, hosts)
    latency, bandwidth = r.uniform(0, 0.3, (hosts, hosts)), r.uniform(20, 400, (hosts, hosts))
    if links == "equal":
        latency[:], bandwidth[:] = latency[0, 0], bandwidth[0, 0]
    latency, bandwidth = np.minimum(latency, latency.T), np.minimum(bandwidth, bandwidth.T)
    for host in range(1, hosts):
        if r.random() < twins:
            twin = int(r.integers(host))
            seconds[:, host], threads[host], room[host] = seconds[:, twin], threads[twin], room[twin]
            if r.random() < 0.7:
                for matrix in (latency, bandwidth):
                    matrix[host], matrix[:, host] = matrix[twin], matrix[:, twin]
    return Problem(micros, *seconds, threads, room, **sizes, latency_s=latency, bandwidth=bandwidth)


def ground(rng, count, layers, micros):
    """A random problem with hosts to it, memory binding in about half of the cases; the update takes no time."""
    tight = rng.choice((None, None, None, 0.4, 0.7, 1.2))
    problem = random_problem(rng, count, layers, micros, tight)
    hosts = tuple(
        host(rank, threads=int(problem.threads[rank]), available_bytes=int(problem.room_bytes[rank]))
        for rank in range(count)
    )
    names = tuple(f"{i:03d}_layer" for i in range(layers))
    return Ground(problem, hosts, names, problem.fixed_bytes, np.zeros((count, layers)), ())
