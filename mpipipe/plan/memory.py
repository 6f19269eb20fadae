"""What a stage takes of its host's memory, and how many micro-batches in flight fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.problem import Problem, StageChoice


def stage_bytes(problem: Problem, stage: StageChoice, in_flight: int, gradients: int) -> int:
    """Peak bytes of a stage: weights, gradients, state; what is in flight; scratch of the threads.

    Recomputing, only its input and output (and what the loss saves) are kept for each micro-batch in flight, and all
    else for each thread that may be at a forward and each micro-batch between I and W.
    """
    base, kept, between = _parts(problem, stage)
    return base + in_flight * kept + gradients * between


def shared_scratch(problem: Problem, stages: Sequence[StageChoice]) -> list[int]:
    """Bytes of scratch that each stage need not have of its own: the threads of a host use the same for all its stages,
    which counts for the one that needs most."""
    scratch = [int(problem.threads[one.host]) * problem.sizes(one)[-1] for one in stages]
    largest: dict[int, int] = {}
    for s, one in enumerate(stages):
        if one.host not in largest or scratch[s] > scratch[largest[one.host]]:
            largest[one.host] = s
    return [0 if largest[one.host] == s else scratch[s] for s, one in enumerate(stages)]


def usual_gradients(in_flight: int, threads: int) -> int:
    """Slots between I and W that keep the threads busy: one for each, and one more."""
    return min(in_flight, threads + 1)


def most_in_flight(problem: Problem, stage: StageChoice) -> int:
    """The most micro-batches that fit, no more than the batch has; 0 where not one does."""
    base, kept, between = _parts(problem, stage)
    room, threads = int(problem.room_bytes[stage.host]) - base, int(problem.threads[stage.host])
    return int(_most(room, kept, between, threads, problem.micros))


def most_table(problem: Problem, host: int, recompute: bool) -> Array:
    """`most_in_flight` of every stage on a host, (L, L + 1) by first layer and last + 1; 0 where there is none."""
    layers, threads = problem.layers, int(problem.threads[host])
    first, last = np.triu_indices(layers + 1, 1)
    fixed, saved, held = (
        np.concatenate([[0], np.cumsum(each)])
        for each in (problem.fixed_bytes, problem.saved_bytes, problem.held_bytes)
    )
    scratch = np.zeros((layers, layers + 1), np.int64)
    for i in range(layers):
        scratch[i, i + 1 :] = np.maximum.accumulate(problem.scratch_bytes[i:])
    begins, ends = problem.input_bytes[first], problem.boundary_bytes[last - 1]
    inside, between = saved[last] - saved[first], held[last] - held[first] + begins
    base = fixed[last] - fixed[first] + threads * scratch[first, last]
    if recompute:
        loss = problem.loss_bytes[last - 1]
        base, between, kept = base + threads * (inside - loss), between + inside - loss, begins + ends + loss
    else:
        kept = begins + inside
    table = np.zeros((layers, layers + 1), np.int64)
    table[first, last] = _most(int(problem.room_bytes[host]) - base, kept, between, threads, problem.micros)
    return table


def _parts(problem: Problem, stage: StageChoice) -> tuple[int, int, int]:
    """Bytes whatever is in flight, bytes of each micro-batch in flight, and of each between I and W."""
    threads = int(problem.threads[stage.host])
    fixed, inside, held, scratch = problem.sizes(stage)
    begins, ends = int(problem.input_bytes[stage.first]), int(problem.boundary_bytes[stage.last - 1])
    base, between = fixed + threads * scratch, held + begins
    if stage.recompute:
        loss = int(problem.loss_bytes[stage.last - 1])
        return base + threads * (inside - loss), begins + ends + loss, between + inside - loss
    return base, begins + inside, between


def _most(room: Any, kept: Any, between: Any, threads: int, micros: int) -> Any:
    """The most K with K * kept + min(K, threads + 1) * between <= room."""
    few = np.where(kept + between > 0, room // np.maximum(kept + between, 1), micros)
    many = np.where(kept > 0, (room - (threads + 1) * between) // np.maximum(kept, 1), micros)
    return np.where(room < 0, 0, np.clip(np.where(few < threads + 1, few, many), 0, micros))
