"""How long each kind of layer takes on this host: the real layers, by the stage and the work queue that training uses.

Where a host has a core for each thread, the clock tells; elsewhere CPU time, which neither the other ranks of the host
nor a CPU quota lengthen: what they take is for the plan to say. Layers that sleep are timed by the clock.

Knows no ranks; the caller lets all ranks of a host measure at the same moment, as they will compute.
"""

import copy
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.job import TrainSettings
from mpipipe.layers import Array, LayerCost, Model, Scratch, Update, layer_costs, make_tree, signature
from mpipipe.resources import LayerTimes
from mpipipe.runtime.member import ActionError
from mpipipe.runtime.share import Now, Share
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.stage import NonFiniteLossError, Stage
from mpipipe.runtime.workqueue import Task, TaskError, WorkQueue

BLOCKS, MOST_BLOCKS, ROUNDS = 5, 12, 10
ENOUGH_S, BLOCK_S, MOST_S = 0.06, 0.005, 1.0
"""An action is repeated in blocks, of ROUNDS or of BLOCK_S if that is less, until it took ENOUGH_S, in BLOCKS at least
and MOST_BLOCKS at the most. All of this of the time that counts, which is CPU time where the threads of the host
outnumber its cores; by the clock, no round begins after MOST_S."""
MOST_SWEPT_BYTES = 1 << 23
"""More than that makes layers of 1 to 2 MB, as in `digits`, 1.3 to 1.5 times as slow as in a stage (Zen 3, 32 MB of L3
cache); with 1 MB they are 0.7 to 0.9 times as slow, with this 0.9 to 1.15."""


@dataclass(frozen=True)
class Timing:
    """What to time layers with: a job's settings, worker threads, the bytes that there is room for, and those that are
    read between two turns of a layer, so that it is not found in the caches as it would not be in a stage. `crowded`
    where the threads of the host outnumber its cores."""

    train: TrainSettings
    threads: int
    room_bytes: int
    swept_bytes: int
    crowded: bool = False
    clock: Clock = REAL_CLOCK


@dataclass(frozen=True)
class _Bench:
    """Where the timing is done."""

    work: WorkQueue
    swept: Array

    def sweep(self, scratch: Scratch) -> None:
        """Others' work between two turns, as far as the caches are concerned."""
        np.sum(self.swept)


def swept_bytes(costs: Iterable[LayerCost], hosts: int) -> int:
    """What the stages of one of `hosts` read and write for a micro-batch: the power of two below it, at most
    MOST_SWEPT_BYTES. The ranks of a host share its caches. Layers found in the caches add up to 72% to 92% of their
    stage's time."""
    all_bytes = sum(cost.weight_bytes + cost.gradient_bytes + cost.saved_bytes + cost.held_bytes for cost in costs)
    return min(MOST_SWEPT_BYTES, 1 << max(0, (all_bytes // hosts).bit_length() - 1))


def time_layers(model: Model, wanted: Iterable[str], timing: Timing) -> tuple[LayerTimes, ...]:
    """The times of the layers with those signatures. One that there is no room for is left out."""
    first = {signature(model, i): i for i in reversed(range(len(model.layers)))}
    costs = layer_costs(model, timing.train)
    numbers = [first[name] for name in wanted]
    bench = _Bench(
        WorkQueue(timing.threads, timing.clock), np.ones(max(1, timing.swept_bytes // DTYPE.itemsize), DTYPE)
    )
    try:
        found = [_time_layer(model, i, costs[i], timing, bench) for i in numbers]
    finally:
        bench.work.close()
    return tuple(times for times in found if times is not None)


def _time_layer(model: Model, i: int, cost: LayerCost, timing: Timing, bench: _Bench) -> LayerTimes | None:
    """Of layer i alone on a stage of its own, which is gone again afterwards; None where it does not fit."""
    threads, train = timing.threads, timing.train
    micro_bytes = 2 * cost.input_bytes + cost.saved_bytes + cost.held_bytes + cost.scratch_bytes
    spare_bytes = (
        timing.room_bytes
        - timing.swept_bytes
        - (2 * cost.weight_bytes + cost.gradient_bytes + cost.state_bytes)
        - threads * micro_bytes
    )
    if spare_bytes < 0:
        return None
    try:
        stage = Stage(
            Share(
                model, i, i + 1, threads, threads, train.micro_batch, train.tile_rows, train.optimizer, train.seed,
                recompute=False, threads=threads,
            )
        )  # fmt: skip
        _fill(stage, i)
        micros = range(1, threads + 1)  # micro-batch 0 would write the gradients where all others add to them
        works = [cost.forward, cost.grad_input, cost.grad_weight]
        by_cpu = timing.crowded and not any(work.seconds for work in works)
        spent = _cpu_seconds if by_cpu else _clock_seconds
        forward = _seconds(bench, [[partial(_forward, stage, micro)] for micro in micros], spent)
        back = _seconds(bench, [[partial(stage.grad_input, micro)] for micro in micros], spent)
        most = 1 + spare_bytes // max(1, cost.gradient_bytes)
        weight = _seconds(bench, _weight_tasks(stage, micros, most), spent)
        update = _seconds(bench, [_update_tasks(stage, train)], spent)
    except MemoryError:
        return None
    except TaskError as error:
        if isinstance(error.__cause__, MemoryError):
            return None
        raise ActionError(f"timing {signature(model, i)}") from error.__cause__
    wanted = stage.is_last or model.wants_input_gradient(i)
    return LayerTimes(signature(model, i), train.micro_batch, forward, back if wanted else 0.0, weight, update)


def _fill(stage: Stage, i: int) -> None:
    """Give it a batch of noise, and weights as they are at the start: zeros would be quicker than numbers."""
    stage.initialise(i)
    threads = len(stage.slots)
    stage.begin(Now((threads + 1) * stage.share.micro_batch, 0))
    rng = np.random.default_rng(0)
    for slot in stage.slots.made:
        _noise(rng, slot.acts[0], getattr(stage.layers[0], "tokens", 0) if i == 0 else 0)
    for gradient in stage.gradient_slots.made:
        _noise(rng, gradient.grads[-1], 0)
        gradient.grads[-1][...] *= 1e-3


def _noise(rng: np.random.Generator, array: Array, tokens: int) -> None:
    if tokens:
        array[...] = rng.integers(0, tokens, array.shape)
    else:
        rng.standard_normal(dtype=DTYPE.type, out=array)


def _forward(stage: Stage, micro: int, scratch: Scratch) -> None:
    stage.forward(micro, scratch)
    if stage.is_last:
        with suppress(NonFiniteLossError):  # of noise it says nothing
            stage.measure_loss(micro, scratch)


def _weight_tasks(stage: Stage, micros: Sequence[int], most: int) -> list[list[Task]]:
    """By micro-batch, all its pieces. Where they are fewer than threads, more micro-batches (`most` at the most) keep
    the other threads busy, each with gradients of its own, for two of them never add to the same ones at once."""
    pieces = range(len(stage.parts))
    count = min(most, -(-len(micros) // len(pieces))) if pieces else 0
    twins = [copy.copy(stage) for _ in range(1, count)]
    for twin in twins:
        twin.gradients = [make_tree(stage.layers[0].parameters(stage.shapes[0]), DTYPE)]
    stages = [stage, *twins][:count]
    return [
        [partial(one.grad_weight, micro, piece) for piece in pieces] for one, micro in zip(stages, micros, strict=False)
    ]


def _update_tasks(stage: Stage, train: TrainSettings) -> list[Task]:
    """What a stage does once a batch: the norm of its gradients, and an update that changes nothing."""
    update = Update(train, step=1, rate=0.0, scale=1.0)
    tasks = [*stage.norm_tasks(np.zeros(len(stage.layers))), *stage.update_tasks(update)]
    return [task for _, task in tasks] if stage.parts else []


def _cpu_seconds(work: WorkQueue) -> float:
    return work.cpu_s


def _clock_seconds(work: WorkQueue) -> float:
    return work.busy_s


def _seconds(bench: _Bench, by_micro: list[list[Task]], spent: Callable[[WorkQueue], float]) -> float:
    """Seconds of one thread for one micro-batch, where all these tasks are done at once, again and again.

    The median of blocks of some milliseconds each. Within a block the mean counts, not the best: a stage pays for every
    turn. Of blocks the median, for a longer stop by something else is not to be paid for at every step.
    """
    tasks = list(enumerate(task for each in by_micro for task in each))
    if not tasks:
        return 0.0
    work = bench.work
    work.run_all(tasks)  # takes scratch, and whatever else is made once
    began = work.clock.now()

    def late() -> bool:
        return work.clock.now() - began > MOST_S

    def block() -> tuple[float, int]:
        busy_s, rounds = 0.0, 0
        while not rounds or (busy_s < BLOCK_S * work.threads and rounds < ROUNDS and not late()):
            work.run_all([(None, bench.sweep)] * work.threads)
            before_s = spent(work)
            work.run_all(tasks)
            busy_s, rounds = busy_s + spent(work) - before_s, rounds + 1
        return busy_s, rounds

    blocks = [block()]
    while len(blocks) < MOST_BLOCKS and not late():
        if len(blocks) >= BLOCKS and sum(busy_s for busy_s, _ in blocks) >= ENOUGH_S * work.threads:
            break
        blocks.append(block())
    return statistics.median(busy_s / (rounds * len(by_micro)) for busy_s, rounds in blocks)
