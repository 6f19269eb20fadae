"""A stage: the layers that a rank holds, all the arrays that they will ever need, and F, I and W on them.

Everything is allocated once. Micro-batch m uses activation slot m modulo `in_flight` and gradient slot m modulo
`gradients_in_flight`; array 0 of a slot is where the stage's input is received, and its last array where the output is
sent from. A smaller last micro-batch uses the first rows. Nothing here knows MPI.

A stage that recomputes keeps only its input and its output of a micro-batch in flight (and on the last stage the target
and what the loss saves). F works in an area that belongs to its worker for as long; I works everything out again, with
the same random draws, in an area that belongs to the gradient slot until W has ended (Chen et al. 2016, section 3).
"""

import math
from collections import deque
from collections.abc import Mapping
from functools import partial

import numpy as np

from mpipipe.layers import (
    TINY,
    Array,
    Key,
    Layer,
    Scratch,
    Update,
    clear_below,
    is_running,
    leaves,
    make_tree,
    square_sum,
    tree_bytes,
    update_weight,
)
from mpipipe.layers.parts import group_tiles
from mpipipe.runtime.held import Held, make_held
from mpipipe.runtime.share import Now, Share
from mpipipe.runtime.slots import DTYPE, GradientSlot, Ring, Slot, make_area, make_gradient_slot, make_slot
from mpipipe.runtime.tied import make_tied
from mpipipe.runtime.workqueue import Task


class NonFiniteLossError(Exception):
    """The loss of a micro-batch is not a finite number."""

    def __init__(self, micro: int) -> None:
        super().__init__(f"the loss of micro-batch {micro} is not finite")
        self.micro = micro


class Stage:
    """One stage of a rank. Making it allocates everything and raises MemoryError where that cannot be had.

    `kept` layers, by their numbers in the model, are taken over as they are.
    """

    def __init__(self, share: Share, kept: Mapping[int, Held] | None = None) -> None:
        self.share, self.model = share, share.model
        self.layers: tuple[Layer, ...] = share.model.layers[share.first : share.last]
        self.shapes = share.model.shapes[share.first : share.last + 1]
        self.is_last = share.last == len(share.model.layers)
        held = [
            (kept or {}).get(share.first + i) or make_held(*each, share.optimizer)
            for i, each in enumerate(self._each())
        ]
        self.weights = [one.weights for one in held]
        self.state = [one.state for one in held]
        trains = share.optimizer != "none"
        self.gradients = [make_tree(layer.parameters(at), DTYPE) if trains else {} for layer, at in self._each()]
        rows, loss = share.micro_batch, self.model.loss if self.is_last else None
        between, again = share.gradients if trains else 0, share.recompute
        self.slots = Ring(share.in_flight, lambda: make_slot(self.layers, self.shapes, rows, loss, again))
        self.gradient_slots = Ring(between, lambda: make_gradient_slot(self.layers, self.shapes, rows, again))
        self.areas = Ring(share.threads if again else 0, lambda: make_area(self.layers, self.shapes, rows))
        self.free_areas = deque(range(len(self.areas)))
        self.tied = make_tied(share.model, share.first, self.gradients)
        self.parts = group_tiles(self.layers, self.shapes, share.tile_rows, rows)
        self.now = Now(0, None)
        self.losses: list[float] = []
        self.right: list[int] = []

    def _each(self) -> list[tuple[Layer, tuple[int, ...]]]:
        return list(zip(self.layers, self.shapes, strict=False))

    def let_go(self) -> dict[int, Held]:
        """Weights and state of every layer; the stage lets go of all else, and is of no more use."""
        held = {self.share.first + i: Held(*pair) for i, pair in enumerate(zip(self.weights, self.state, strict=True))}
        for ring in (self.slots, self.gradient_slots, self.areas):
            ring.clear()
        self.gradients, self.tied = [], None
        return held

    def bytes(self) -> int:
        """Bytes of all arrays. With K slots, G gradient slots and T threads, in the terms of `layers.LayerCost`:

        sum of (weight + gradient + state) + K (input of the first + sum of saved) + G (the same input + sum of held).
        A stage that recomputes has K (input of the first + boundary of the last + sum of loss) + (T + G) (sum of saved
        - sum of loss) in place of the second term.
        """
        trees = [*self.weights, *self.gradients, *(tree for state in self.state for tree in state.values())]
        rings = self.slots.bytes() + self.gradient_slots.bytes() + self.areas.bytes()
        return sum(map(tree_bytes, trees)) + rings + (self.tied.twin.nbytes if self.tied else 0)

    def initialise(self, layer: int) -> None:
        """Draw the weights of one layer (by its number in the model) from (seed, layer); tied ones are drawn alike."""
        key = Key((self.share.seed, 0, self.model.drawn_as(layer)))
        self.model.layers[layer].initialise(self.weights[layer - self.share.first], key)

    def array(self, layer: int, path: str, state: str) -> Array:
        """The weight at `path` of a layer (by its number in the model), or that state of it."""
        local = layer - self.share.first
        array: Array = self.state[local][path][state] if state else dict(leaves(self.weights[local]))[path]
        return array

    def begin(self, now: Now) -> None:
        """Get ready for a batch."""
        self.now = now
        micros = -(-now.samples // self.share.micro_batch)
        self.losses, self.right = [0.0] * micros, [0] * micros

    def rows(self, micro: int) -> int:
        """Samples of a micro-batch: the last one of a batch may be smaller."""
        return min(self.share.micro_batch, self.now.samples - micro * self.share.micro_batch)

    def slot(self, micro: int) -> Slot:
        """The arrays of a micro-batch in flight, cut to its rows."""
        return self.slots.at(micro, self.rows(micro))

    def gradient_slot(self, micro: int) -> GradientSlot:
        """The gradient arrays of a micro-batch, cut to its rows."""
        return self.gradient_slots.at(micro, self.rows(micro))

    def forward(self, micro: int, scratch: Scratch) -> None:
        """F of all layers."""
        if not self.share.recompute:
            self._forward(micro, self.slot(micro), scratch)
            return
        number = self.free_areas.pop()  # there is one for each worker, and a worker is at one F at a time
        try:
            self._forward(micro, self.slot(micro).on_its_way(self.areas.at(number, self.rows(micro))), scratch)
        finally:
            self.free_areas.append(number)

    def _forward(self, micro: int, slot: Slot, scratch: Scratch) -> None:
        step = self.now.step
        for i, layer in enumerate(self.layers):
            key = None if step is None else Key((self.share.seed, 1, self.share.first + i, step, micro))
            layer.forward(self.weights[i], slot.acts[i], slot.acts[i + 1], slot.saved[i], key, scratch)
            scratch.release(0)

    def measure_loss(self, micro: int, scratch: Scratch) -> None:
        """The loss after F, on the last stage. Raises NonFiniteLossError in training."""
        slot = self.slot(micro)
        loss, right = self.model.loss.forward(slot.acts[-1], slot.target, slot.loss_saved, scratch)
        if self.now.step is not None and not math.isfinite(loss):
            raise NonFiniteLossError(micro)
        self.losses[micro], self.right[micro] = loss, right

    def grad_input(self, micro: int, scratch: Scratch) -> None:
        """I, down to the first layer whose gradient anyone wants; F before it where that was not kept."""
        slot, gradient = self._kept(micro), self.gradient_slot(micro)
        if gradient.area is not None:
            self._forward(micro, slot, scratch)
        if self.is_last:
            weight = 1.0 / (self.now.samples * self.model.targets)
            self.model.loss.backward(slot.acts[-1], slot.target, slot.loss_saved, gradient.grads[-1], weight)
        for i in reversed(range(len(self.layers))):
            if not self._wants_input_gradient(i):
                break
            self.layers[i].grad_input(
                self.weights[i],
                slot.acts[i],
                slot.acts[i + 1],
                gradient.grads[i + 1],
                gradient.grads[i],
                slot.saved[i],
                gradient.held[i],
                scratch,
            )
            scratch.release(0)

    def _kept(self, micro: int) -> Slot:
        """All that F left, or will have left once it is worked out again."""
        slot, area = self.slot(micro), self.gradient_slot(micro).area
        return slot if area is None else slot.again(area)

    def _wants_input_gradient(self, i: int) -> bool:
        number, lowest = self.share.first + i, self.model.first_weights
        return number > lowest or (number == lowest and bool(self.layers[i].held(self.shapes[i])))

    def grad_weight(self, micro: int, part: int, scratch: Scratch) -> None:
        """One task of W."""
        slot, gradient = self._kept(micro), self.gradient_slot(micro)
        for i, tile in self.parts[part]:
            p, x, dy, total = self.weights[i], slot.acts[i], gradient.grads[i + 1], self.gradients[i]
            self.layers[i].grad_weight(p, tile, x, dy, slot.saved[i], gradient.held[i], total, micro == 0, scratch)
            scratch.release(0)

    def norm_tasks(self, sums: Array) -> list[tuple[str, Task]]:
        """Tasks that put each layer's sum of squared gradients into `sums` (one float64 for each layer)."""

        def task(i: int, scratch: Scratch) -> None:
            is_copy = self.model.tied is not None and self.share.first + i == self.model.tied[1]
            trained = [] if is_copy else [g for path, g in leaves(self.gradients[i]) if not is_running(path)]
            sums[i] = math.fsum(map(square_sum, trained))

        return [(f"norm of layer {self.share.first + i}", partial(task, i)) for i in range(len(self.layers))]

    def update_tasks(self, update: Update) -> list[tuple[str, Task]]:
        """Tasks that update each weight."""
        tasks: list[tuple[str, Task]] = []
        for i in range(len(self.layers)):
            gradients = dict(leaves(self.gradients[i]))
            for path, weight in leaves(self.weights[i]):
                if is_running(path):
                    task: Task = partial(_copy, weight, gradients[path])
                else:
                    task = partial(update_weight, update, weight, gradients[path], self.state[i][path])
                tasks.append((f"update of layer {self.share.first + i}, {path}", task))
        return tasks

    def spare_acts(self) -> tuple[Array, ...]:
        """Input and outputs of all layers, for whoever works outside of batches."""
        slot = self.slots.made[0]
        return slot.again(self.areas.made[0]).acts if self.share.recompute else slot.acts

    def first_bad_layer(self, micro: int) -> int | None:
        """The number of the first layer whose output for a micro-batch in flight is not finite. No task may run."""
        slot = self.slot(micro)
        if self.share.recompute:
            slot = slot.again(self.areas.at(0, self.rows(micro)))
            with np.errstate(all="ignore"):
                self._forward(micro, slot, Scratch())
        for i, array in enumerate(slot.acts[1:]):
            if not np.isfinite(array).all():
                return self.share.first + i
        return None


def _copy(weight: Array, value: Array, scratch: Scratch) -> None:
    """A running statistic's new value; that of a channel which is always zero decays as optimizer state does."""
    mark = scratch.mark()
    np.copyto(weight, value)
    clear_below(TINY, weight, scratch.take(weight.shape, weight.dtype))
    scratch.release(mark)
