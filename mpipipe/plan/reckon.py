"""What the planner reckons with: seconds of every layer on every host, memory, links; measured where they have been.

A host whose file has times for a layer, at the job's micro-batch size, is reckoned with these; for any other layer its
measured rates stand in. Links are the cluster's: while both directions are busy, as they are in a pipeline.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.layers import Array, LayerCost, Work
from mpipipe.plan.problem import Problem
from mpipipe.resources.cluster import Cluster, Host, is_crowded, ranks_sharing, times_of

LOOK_S, SHARED_LOOK_S, PART_LOOK_S, MOST_LOOK_S = 0.2e-3, 1e-3, 0.5e-3, 10e-3
"""A rank that waits for messages looks for them so often at the least, and leaves its core to others meanwhile. Where
ranks share too few cores a look is at the others' expense: nine ranks that looked every fifth of a millisecond took a
fifth of two cores. So the interval grows with the wait, up to a millisecond. A look takes 0.07 ms of CPU time; with a
part of a core only, the interval is PART_LOOK_S divided by that part, but no more than MOST_LOOK_S."""
NOTICE_S, BUSY_NOTICE_S = 0.25e-3, 1e-3
"""Seconds from when a message has come to another rank until what waits for it begins: with a core that is free to
look, and where workers may have all cores, and look once a millisecond. 1.0 to 1.6 ms were measured there, with 2 and
4 ranks on 2 cores."""
UPDATE_PASSES = 12
"""Elements read or written for each weight by an optimizer's update and the gradient's norm."""


@dataclass(frozen=True)
class Ground:
    """A problem with who its hosts are. `update_s` (hosts, layers) are seconds of one thread for the optimizer."""

    problem: Problem
    hosts: tuple[Host, ...]
    names: tuple[str, ...]
    weight_bytes: Array
    update_s: Array
    unmeasured: tuple[str, ...]
    """Names of layers that some host has no times for."""


def survey_ground(
    costs: Sequence[LayerCost],
    cluster: Cluster,
    micros: int,
    micro_batch: int,
    reserved: Mapping[int, int],
    load_s: float = 0.0,
) -> Ground:
    """The numbers for `micros` micro-batches of `micro_batch`. `reserved` bytes of a rank are no room for stages;
    rank 0 loads the samples of a micro-batch in `load_s`."""
    hosts = cluster.hosts
    seconds, unmeasured = _layer_seconds(costs, hosts, micro_batch)
    links = [[cluster.link(a.name, b.name) for b in hosts] for a in hosts]
    each = np.array([notice_seconds(cluster, host) for host in hosts])
    notice_s = (each + each[:, None]) / 2
    pools = [host.core_pool for host in hosts]
    problem = Problem(
        micros=micros,
        forward_s=seconds[0],
        input_s=seconds[1],
        weight_s=seconds[2],
        threads=np.array([host.threads for host in hosts]),
        room_bytes=np.array([host.available_bytes - reserved.get(host.rank, 0) for host in hosts]),
        fixed_bytes=_bytes(cost.weight_bytes + cost.gradient_bytes + cost.state_bytes for cost in costs),
        saved_bytes=_bytes(cost.saved_bytes for cost in costs),
        held_bytes=_bytes(cost.held_bytes for cost in costs),
        input_bytes=_bytes(cost.input_bytes for cost in costs),
        scratch_bytes=_bytes(cost.scratch_bytes for cost in costs),
        boundary_bytes=_bytes(cost.boundary_bytes for cost in costs),
        loss_bytes=_bytes(cost.loss_bytes for cost in costs),
        tiles=np.array([cost.tiles for cost in costs]),
        weight_flops=np.array([cost.grad_weight.flops for cost in costs]),
        latency_s=np.array([[link.latency_s for link in row] for row in links]) + notice_s * (1 - np.eye(len(hosts))),
        bandwidth=np.array([[link.both_bandwidth for link in row] for row in links]),
        machine=np.array([pools.index(pool) for pool in pools]),
        cores=np.array([host.cores_left for host in hosts]),
        period_s=np.array([host.period_s for host in hosts]),
        sleep_s=np.array([sum(w.seconds for w in (c.forward, c.grad_input, c.grad_weight)) for c in costs]),
        load_s=load_s,
    )
    weights = _bytes(cost.weight_bytes for cost in costs)
    names = tuple(cost.name for cost in costs)
    return Ground(problem, hosts, names, weights, seconds[3], unmeasured)


def look_seconds(cluster: Cluster, host: Host) -> float:
    """How often a rank looks for messages at the least."""
    if not is_crowded(cluster, host):
        return LOOK_S
    if host.cores_left >= 1:
        return SHARED_LOOK_S
    return max(SHARED_LOOK_S, min(MOST_LOOK_S, PART_LOOK_S / host.cores_left))


def notice_seconds(cluster: Cluster, host: Host) -> float:
    """Of a host's ranks; with a part of a core, half an interval between two looks, on the average."""
    if not 0 < host.cores_left <= sum(other.threads for other in ranks_sharing(cluster, host)):
        return NOTICE_S
    return max(BUSY_NOTICE_S, look_seconds(cluster, host) / 2)


def seconds(work: Work, host: Host) -> float:
    """Seconds of one thread of `host`, by its rates."""
    return work.flops / host.matrix_flops + work.elements / host.elements + work.seconds


def _layer_seconds(
    costs: Sequence[LayerCost], hosts: Sequence[Host], micro_batch: int
) -> tuple[Array, tuple[str, ...]]:
    """F, I, W and the update (4, hosts, layers), and the names of layers that some host has no times for."""
    table = np.zeros((4, len(hosts), len(costs)))
    unmeasured = []
    for h, host in enumerate(hosts):
        for i, cost in enumerate(costs):
            known = times_of(host, cost.signature, micro_batch)
            table[3, h, i] = cost.weight_bytes / 4 * UPDATE_PASSES / host.elements
            if known is not None:
                table[:3, h, i] = known.forward_s, known.input_s, known.weight_s
                table[3, h, i] = min(known.update_s, cost.weight_bytes) or table[3, h, i]
                continue
            table[:3, h, i] = [seconds(work, host) for work in (cost.forward, cost.grad_input, cost.grad_weight)]
            if cost.name not in unmeasured:
                unmeasured.append(cost.name)
    return table, tuple(unmeasured)


def _bytes(values: Iterable[int]) -> Array:
    return np.array(list(values), np.int64)
