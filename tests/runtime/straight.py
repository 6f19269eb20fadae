"""The reference: one loop over all layers, with fresh arrays and nothing of the runtime. Every run must equal it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpipipe.checkpoint import pieces
from mpipipe.layers import (
    Array,
    Key,
    Scratch,
    Tree,
    Update,
    is_running,
    leaves,
    make_tree,
    square_sum,
    state_names,
    update_weight,
)

from .cases import Case
from .harness import BLAS, some_batches


@dataclass
class Forward:
    """One micro-batch: input and outputs of all layers, what they and the loss saved, and the loss."""

    acts: list[Array]
    saved: list[Tree]
    target: Array
    loss_saved: Tree
    loss: float = 0.0
    right: int = 0


class Straight:
    """Weights, gradients and state of the whole model, drawn as for a new run."""

    def __init__(self, case: Case) -> None:
        self.case, self.model, self.settings = case, case.model, case.job.train
        self.each = list(enumerate(zip(self.model.layers, self.model.shapes, strict=False)))
        self.weights = [make_tree(layer.parameters(at), np.float32) for _, (layer, at) in self.each]
        self.gradients = [make_tree(layer.parameters(at), np.float32) for _, (layer, at) in self.each]
        self.state: list[dict[str, Tree]] = [
            {
                path: {name: np.zeros_like(weight) for name in state_names(self.settings.optimizer, path)}
                for path, weight in leaves(tree)
            }
            for tree in self.weights
        ]
        self.copy = self.model.tied[1] if self.model.tied else None
        for i, (layer, _) in self.each:
            layer.initialise(self.weights[i], Key((self.settings.seed, 0, 0 if i == self.copy else i)))

    def everything(self) -> dict[str, Array]:
        """Copies of weights and state by their place in a checkpoint."""
        found = {}
        for piece in pieces(self.model, self.settings.optimizer):
            weights, state = dict(leaves(self.weights[piece.layer])), self.state[piece.layer][piece.path]
            found[piece.place] = (state[piece.state] if piece.state else weights[piece.path]).copy()
        return found

    def train(self, rows: Array, step: int, rate: float) -> tuple[float, float, float]:
        """One batch and one update: mean loss, accuracy, norm."""
        losses, right = [], 0
        for micro, part in self.micros(rows):
            run = self.forward(part, step, micro)
            losses.append(run.loss)
            right += run.right
            self.backward(run, len(rows), first=micro == 0)
        squares = self.squares()
        counted = self.counted(rows)
        scale = len(rows) * self.model.targets / max(1, counted)
        norm, clip = math.sqrt(math.fsum(squares)) * scale, self.settings.clip_norm
        self.update(Update(self.settings, step + 1, rate, scale * (min(1.0, clip / (norm + 1e-6)) if clip else 1.0)))
        return math.fsum(losses) / max(1, counted), right / max(1, counted), norm

    def squares(self) -> list[float]:
        """Of the gradients of each layer, once a tied weight's two are added up, which then counts once."""
        if self.copy is not None:
            first, last = self.gradients[0]["weight"], self.gradients[self.copy]["weight"]
            first[...] = last[...] = first + last
        return [
            math.fsum(square_sum(gradient) for path, gradient in leaves(tree) if not is_running(path))
            for i, tree in enumerate(self.gradients)
            if i != self.copy
        ]

    def counted(self, rows: Array) -> int:
        """Targets that are not ignored; samples where targets are values."""
        targets = self.case.targets[rows]
        return int(np.sum(targets >= 0)) if self.model.loss.labels else len(rows)

    def micros(self, rows: Array) -> Iterator[tuple[int, Array]]:
        size = self.settings.micro_batch
        return enumerate(rows[start : start + size] for start in range(0, len(rows), size))

    def forward(self, rows: Array, step: int | None = None, micro: int = 0) -> Forward:
        """All layers and the loss of one micro-batch; without a step only evaluating."""
        count, shapes = len(rows), self.model.shapes
        acts = [self.case.features[rows], *(np.full((count, *shape), np.nan, np.float32) for shape in shapes[1:])]
        saved = [make_tree(layer.saved(at), np.float32, count) for _, (layer, at) in self.each]
        for i, (layer, _) in self.each:
            key = None if step is None else Key((self.settings.seed, 1, i, step, micro))
            layer.forward(self.weights[i], acts[i], acts[i + 1], saved[i], key, Scratch())
        run = Forward(
            acts, saved, self.case.targets[rows], make_tree(self.model.loss.saved(shapes[-1]), np.float32, count)
        )
        run.loss, run.right = self.model.loss.forward(acts[-1], run.target, run.loss_saved, Scratch())
        return run

    def backward(self, run: Forward, samples: int, first: bool) -> None:
        """I and W of all layers, the last first; none is left out."""
        dy = np.full_like(run.acts[-1], np.nan)
        self.model.loss.backward(run.acts[-1], run.target, run.loss_saved, dy, 1.0 / (samples * self.model.targets))
        for i, (layer, at) in reversed(self.each):
            x, y, saved = run.acts[i], run.acts[i + 1], run.saved[i]
            dx, held = np.full_like(x, np.nan), make_tree(layer.held(at), np.float32, len(x))
            layer.grad_input(self.weights[i], x, y, dy, dx, saved, held, Scratch())
            for tile in layer.tiles(at, self.settings.tile_rows):
                layer.grad_weight(self.weights[i], tile, x, dy, saved, held, self.gradients[i], first, Scratch())
            dy = dx

    def update(self, update: Update) -> None:
        """All weights."""
        for i, _ in self.each:
            gradients = dict(leaves(self.gradients[i]))
            for path, weight in leaves(self.weights[i]):
                if is_running(path):
                    weight[...] = gradients[path]
                else:
                    update_weight(update, weight, gradients[path], self.state[i][path], Scratch())

    def look(self, rows: Array) -> tuple[float, int, int, Array]:
        """Loss and right predictions, added as the conductor does: micro-batches to batches, these to all; how many
        targets count; outputs."""
        loss, right, outputs = 0.0, 0, []
        for start in range(0, len(rows), self.settings.batch):
            runs = [self.forward(part) for _, part in self.micros(rows[start : start + self.settings.batch])]
            loss, right = loss + math.fsum(run.loss for run in runs), right + sum(run.right for run in runs)
            outputs += [run.acts[-1] for run in runs]
        return loss, right, self.counted(rows), np.concatenate(outputs)


@dataclass(frozen=True)
class History:
    """What each step of `harness.train` gives, and everything as it stands before the first and after each."""

    numbers: list[tuple[float, float, float]]
    everything: list[dict[str, Array]]


def straight(case: Case, steps: int = 4) -> History:
    """The history of the story that `harness.train` plays."""
    with BLAS.limit(limits=1), np.errstate(all="ignore"):
        model = Straight(case)
        history = History([], [model.everything()])
        for step, batch in enumerate(some_batches(case, steps)):
            rate = case.job.train.learning_rate / (step + 1)
            history.numbers.append(model.train(batch.rows, step, rate))
            history.everything.append(model.everything())
    return history


def same_bits(found: dict[str, Any], needed: dict[str, Any]) -> None:
    """Asserts that all arrays are there, with the same bits."""
    assert sorted(found) == sorted(needed)
    for place, array in needed.items():
        assert found[place].dtype == array.dtype and found[place].shape == array.shape, place
        assert found[place].tobytes() == array.tobytes(), f"{place} differs by {np.abs(found[place] - array).max()}"
