"""Slots: the arrays of one micro-batch, made once, handed out again, and cut to the rows of a smaller micro-batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from mpipipe.layers import Array, Layer, Loss, Shape, Tree, first_rows, leaves, make_tree, touched

DTYPE = np.dtype(np.float32)


@dataclass(frozen=True)
class Area:
    """Where layers work: the outputs of all of them, and what F saves."""

    outputs: tuple[Array, ...]
    saved: tuple[Tree, ...]

    def cut(self, rows: int) -> "Area":
        """Views of the first rows."""
        return Area(tuple(array[:rows] for array in self.outputs), tuple(first_rows(tree, rows) for tree in self.saved))

    def arrays(self) -> Iterator[Array]:
        """All of them."""
        yield from self.outputs
        yield from (array for tree in self.saved for _, array in leaves(tree))


@dataclass(frozen=True)
class Slot:
    """Arrays of one micro-batch in flight: input and outputs of all layers, what F saves, the target.

    Where the stage recomputes, `acts` are its input and its output alone, and nothing is saved.
    """

    acts: tuple[Array, ...]
    saved: tuple[Tree, ...]
    target: Array
    loss_saved: Tree

    def cut(self, rows: int) -> "Slot":
        """Views of the first rows."""
        return Slot(
            tuple(array[:rows] for array in self.acts),
            tuple(first_rows(tree, rows) for tree in self.saved),
            self.target[:rows],
            first_rows(self.loss_saved, rows),
        )

    def on_its_way(self, area: Area) -> "Slot":
        """For F in `area`: what leaves the stage is put where it is sent from."""
        return Slot((self.acts[0], *area.outputs[:-1], self.acts[-1]), area.saved, self.target, self.loss_saved)

    def again(self, area: Area) -> "Slot":
        """For F once more, I and W in `area`: the output may be on its way still, and is not touched."""
        return Slot((self.acts[0], *area.outputs), area.saved, self.target, self.loss_saved)

    def arrays(self) -> Iterator[Array]:
        """All of them."""
        yield from (*self.acts, self.target)
        yield from (array for tree in (*self.saved, self.loss_saved) for _, array in leaves(tree))


@dataclass(frozen=True)
class GradientSlot:
    """Arrays of one micro-batch between I and W: gradients by input and outputs, what I holds for W.

    Where the stage recomputes, `area` has what F works out again.
    """

    grads: tuple[Array, ...]
    held: tuple[Tree, ...]
    area: Area | None

    def cut(self, rows: int) -> "GradientSlot":
        """Views of the first rows."""
        return GradientSlot(
            tuple(array[:rows] for array in self.grads),
            tuple(first_rows(tree, rows) for tree in self.held),
            self.area.cut(rows) if self.area else None,
        )

    def arrays(self) -> Iterator[Array]:
        """All of them."""
        yield from self.grads
        yield from (array for tree in self.held for _, array in leaves(tree))
        yield from self.area.arrays() if self.area else ()


class Made(Protocol):
    """What a Ring hands out."""

    def cut(self, rows: int) -> Self:
        """Views of the first rows."""

    def arrays(self) -> Iterator[Array]:
        """All arrays."""


T = TypeVar("T", bound=Made)


class Ring(Generic[T]):
    """So many of a kind, made once: number n gets the one at n modulo their count. Views are made once too."""

    def __init__(self, count: int, make: Callable[[], T]) -> None:
        self.made = [make() for _ in range(count)]
        self._views: dict[tuple[int, int], T] = {}

    def __len__(self) -> int:
        return len(self.made)

    def at(self, number: int, rows: int) -> T:
        """The one for `number`, cut to its rows."""
        key = (number % len(self.made), rows)
        if key not in self._views:
            self._views[key] = self.made[key[0]].cut(rows)
        return self._views[key]

    def clear(self) -> None:
        """Let go of all."""
        self.made.clear()
        self._views.clear()

    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for one in self.made for array in one.arrays())


def make_area(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int) -> Area:
    """Arrays for F of `rows` samples. `shapes` has the output as well."""
    return Area(_activations(shapes[1:], rows), _saved(layers, shapes, rows))


def make_slot(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int, loss: Loss | None, recompute: bool) -> Slot:
    """Arrays for `rows` samples; with `loss`, on the last stage, what it needs too. `shapes` has the output as well."""
    out = shapes[-1]
    target = (rows, *loss.target_shape(out)) if loss else (0,)
    return Slot(
        _activations((shapes[0], out) if recompute else shapes, rows),
        () if recompute else _saved(layers, shapes, rows),
        touched(target, np.int64 if loss and loss.labels else DTYPE),
        make_tree(loss.saved(out), DTYPE, rows) if loss else {},
    )


def make_gradient_slot(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int, recompute: bool) -> GradientSlot:
    """Arrays for `rows` samples between I and W."""
    return GradientSlot(
        _activations(shapes, rows),
        tuple(make_tree(layer.held(at), DTYPE, rows) for layer, at in zip(layers, shapes, strict=False)),
        make_area(layers, shapes, rows) if recompute else None,
    )


def _activations(shapes: Sequence[Shape], rows: int) -> tuple[Array, ...]:
    return tuple(touched((rows, *shape), DTYPE) for shape in shapes)


def _saved(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int) -> tuple[Tree, ...]:
    return tuple(make_tree(layer.saved(at), DTYPE, rows) for layer, at in zip(layers, shapes, strict=False))
