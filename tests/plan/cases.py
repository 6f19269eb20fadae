"""Random layers and hosts that differ in everything, and short ways to make jobs and clusters."""

import random
from dataclasses import replace

from mpipipe.job import Job
from mpipipe.layers import LayerCost, Work
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
