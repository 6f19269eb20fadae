"""What a stage takes: seconds from measured rates, bytes from the layers' costs, and a step's time by simulation.

Rates are the hosts' own. Links are not measured here: a message between hosts is reckoned at gigabit ethernet, one
within a host at memory speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpipipe.layers import Array, LayerCost, Work
from mpipipe.resources.cluster import Host
from mpipipe.schedule import Kind, Room, Schedule, Simulation, Transfer, lower, simulate, whole_graph, wire

LATENCY_S = {True: 30e-6, False: 200e-6}
"""Seconds that a message takes besides its bytes: within a host, between hosts."""
BANDWIDTH = {True: 3e9, False: 117e6}
"""Bytes a second: within a host, between hosts."""
TASK_S = 50e-6
"""Seconds that each task costs besides its work: the queue, the schedule, the first touch of numpy."""
UPDATE_PASSES = 12
"""Elements read or written for each weight by an optimizer's update and the gradient's norm."""


@dataclass(frozen=True)
class Totals:
    """Running sums over layers, so that `flops[j] - flops[i]` is the work of layers i to j - 1.

    `scratch_bytes[i, j]` is the most that one of these layers needs.
    """

    costs: tuple[LayerCost, ...]
    flops: Array
    elements: Array
    fixed_bytes: Array
    saved_bytes: Array
    held_bytes: Array
    input_bytes: Array
    scratch_bytes: Array

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.costs)


@dataclass(frozen=True)
class Limits:
    """Micro-batches whose activations, and whose gradients, a stage has room for; whether it works F out again in I."""

    in_flight: int
    gradients: int
    recompute: bool = False


def total_up(costs: Sequence[LayerCost]) -> Totals:
    """The running sums. Fixed bytes are weights, their gradients and the optimizer's state."""
    works = [(cost.forward, cost.grad_input, cost.grad_weight) for cost in costs]
    scratch = np.zeros((len(costs), len(costs) + 1), np.int64)
    for first in range(len(costs)):
        scratch[first, first + 1 :] = np.maximum.accumulate([cost.scratch_bytes for cost in costs[first:]])
    return Totals(
        tuple(costs),
        np.cumsum([0.0, *(sum(work.flops for work in each) for each in works)]),
        np.cumsum([0.0, *(sum(work.elements for work in each) for each in works)]),
        np.cumsum([0, *(cost.weight_bytes + cost.gradient_bytes + cost.state_bytes for cost in costs)]),
        np.cumsum([0, *(cost.saved_bytes for cost in costs)]),
        np.cumsum([0, *(cost.held_bytes for cost in costs)]),
        np.array([cost.input_bytes for cost in costs]),
        scratch,
    )


def seconds(work: Work, host: Host) -> float:
    """Seconds of one thread of `host`."""
    return work.flops / host.matrix_flops + work.elements / host.elements + work.seconds


def stage_seconds(totals: Totals, first: Any, last: Any, host: Host) -> Any:
    """Seconds that a full micro-batch (F, I and W) keeps all the rank's threads busy. Takes arrays of stages too."""
    flops = totals.flops[last] - totals.flops[first]
    elements = totals.elements[last] - totals.elements[first]
    return (flops / host.matrix_flops + elements / host.elements) / host.threads


def stage_bytes(totals: Totals, first: Any, last: Any, limits: Limits, threads: int) -> Any:
    """Peak bytes of a stage: weights, gradients, state; activations and gradients in flight; scratch of the threads.

    With `recompute` its ends alone are in flight; every thread, and every gradient slot, has room for what is between.
    Takes arrays of stages too.
    """
    fixed = totals.fixed_bytes[last] - totals.fixed_bytes[first]
    saved = totals.saved_bytes[last] - totals.saved_bytes[first]
    held = totals.held_bytes[last] - totals.held_bytes[first] + totals.input_bytes[first]
    scratch = totals.scratch_bytes[first, last]
    kept, areas = totals.input_bytes[first] + saved, 0
    if limits.recompute:
        loss = np.where(np.equal(last, totals.layers), totals.costs[-1].loss_bytes, 0)
        ends = np.array([cost.boundary_bytes for cost in totals.costs])
        kept = totals.input_bytes[first] + ends[np.subtract(last, 1)] + loss
        areas = (threads + limits.gradients) * (saved - loss)
    return fixed + limits.in_flight * kept + areas + limits.gradients * held + threads * scratch


def message_seconds(sender: Host, receiver: Host, size: int) -> float:
    """Seconds of one message."""
    near = sender.name == receiver.name
    return LATENCY_S[near] + size / BANDWIDTH[near]


def simulate_step(
    totals: Totals, stages: Sequence[tuple[Host, int, int]], limits: Sequence[Limits], schedule: Schedule
) -> Simulation:
    """One step of full micro-batches on `stages`, each (host, first layer, last layer + 1)."""
    threads = [host.threads for host, _, _ in stages]
    rooms = [
        Room(in_flight, limit.gradients, host.threads)
        for in_flight, limit, (host, _, _) in zip(schedule.in_flight, limits, stages, strict=True)
    ]
    whole = whole_graph(lower(schedule), rooms, schedule.micros)
    times = [_task_seconds(totals, *stage, limit.recompute) for stage, limit in zip(stages, limits, strict=True)]
    messages: dict[tuple[Kind, int], Transfer] = {}
    for s in range(len(stages) - 1):
        taken = message_seconds(stages[s][0], stages[s + 1][0], totals.costs[stages[s][2] - 1].boundary_bytes)
        messages[Kind.SEND_ACT, s] = messages[Kind.SEND_GRAD, s + 1] = Transfer(taken)
    return simulate(wire(whole), times, threads, messages)


def update_seconds(totals: Totals, stages: Sequence[tuple[Host, int, int]]) -> float:
    """Seconds of the slowest stage's optimizer update."""
    return max(
        sum(cost.weight_bytes for cost in totals.costs[first:last]) / 4 * UPDATE_PASSES / host.elements / host.threads
        for host, first, last in stages
    )


def _task_seconds(totals: Totals, host: Host, first: int, last: int, recompute: bool) -> dict[Kind, float]:
    costs = totals.costs[first:last]
    forward_s = sum(seconds(cost.forward, host) for cost in costs)
    return {
        Kind.F: TASK_S + forward_s,
        Kind.I: TASK_S + forward_s * recompute + sum(seconds(cost.grad_input, host) for cost in costs),
        Kind.W: TASK_S + sum(seconds(cost.grad_weight, host) for cost in costs) / host.threads,
    }
