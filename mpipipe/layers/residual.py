"""A residual block: y = x + f(x), f a list of layers (He et al. 2016). To the planner it is one layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.types import Array, Cost, Key, Layer, Scratch, Shape, Shapes, Tile, Tree, Work, size


@dataclass(frozen=True)
class Residual:
    """Holds the inner outputs y0, y1, ... in `saved` and the gradients by them, dy0, dy1, ..., in `held`.

    The last inner output is kept only where the last layer reads it again; otherwise it is formed in y itself.
    """

    layers: tuple[Layer, ...]
    kind: ClassVar[str] = "residual"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x, which f must return to."""
        if not self.layers:
            raise ShapeError("residual.layers", "empty", "at least one layer")
        out = self._shapes(shape)[-1]
        if out != shape:
            raise ShapeError("residual", f"its layers turn shape {shape} into {out}", f"shape {shape} again")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """One tree for each inner layer that has weights."""
        inner = {name: layer.parameters(at) for name, layer, at in self.inner(shape)}
        return {name: shapes for name, shapes in inner.items() if shapes}

    def saved(self, shape: Shape) -> Shapes:
        """Inner outputs, and what each inner layer saves."""
        shapes = self._shapes(shape)
        kept = len(self.layers) if self.layers[-1].reads_output else len(self.layers) - 1
        outputs: Shapes = {f"y{i}": shapes[i + 1] for i in range(kept)}
        return outputs | {name: layer.saved(at) for name, layer, at in self.inner(shape)}

    def held(self, shape: Shape) -> Shapes:
        """Gradients by the inner outputs but the last, and what each inner layer holds."""
        shapes = self._shapes(shape)
        inner: Shapes = {f"dy{i}": shapes[i + 1] for i in range(len(self.layers) - 1)}
        return inner | {name: layer.held(at) for name, layer, at in self.inner(shape)}

    def cost(self, shape: Shape) -> Cost:
        """The inner layers', and one addition each way."""
        add = Work(0, float(size(shape)))
        inner = Cost(add, add)
        for _, layer, at in self.inner(shape):
            inner = inner + layer.cost(at)
        return inner

    def initialise(self, p: Tree, key: Key) -> None:
        """Each inner layer from a key of its own."""
        for i, (name, layer) in enumerate(self._named()):
            layer.initialise(p.get(name, {}), key.child(i))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """Through the inner layers, then add x."""
        inner = x
        for i, (name, layer) in enumerate(self._named()):
            out = saved.get(f"y{i}", y)
            mark = scratch.mark()
            layer.forward(p.get(name, {}), inner, out, saved[name], key and key.child(i), scratch)
            scratch.release(mark)
            inner = out
        np.add(x, inner, out=y)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Back through the inner layers, then add dy."""
        for i, (name, layer) in reversed(list(enumerate(self._named()))):
            into = held[f"dy{i - 1}"] if i else dx
            mark = scratch.mark()
            layer.grad_input(
                p.get(name, {}),
                self._input(i, x, saved),
                saved.get(f"y{i}", y),
                held.get(f"dy{i}", dy),
                into,
                saved[name],
                held[name],
                scratch,
            )
            scratch.release(mark)
        np.add(dx, dy, out=dx)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """The inner layers' tiles, each behind its layer's index."""
        return tuple((i, *tile) for i, (_, layer, at) in enumerate(self.inner(shape)) for tile in layer.tiles(at, rows))

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """The inner layer's tile."""
        i, *rest = tile
        layer, name = self.layers[i], f"{i}_{self.layers[i].kind}"
        inner_dy = held.get(f"dy{i}", dy)
        inner = self._input(i, x, saved)
        layer.grad_weight(p[name], tuple(rest), inner, inner_dy, saved[name], held[name], g[name], first, scratch)

    def _input(self, i: int, x: Array, saved: Tree) -> Array:
        array: Array = saved[f"y{i - 1}"] if i else x
        return array

    def _named(self) -> Iterator[tuple[str, Layer]]:
        return ((f"{i}_{layer.kind}", layer) for i, layer in enumerate(self.layers))

    def _shapes(self, shape: Shape) -> list[Shape]:
        shapes = [shape]
        for name, layer in self._named():
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ShapeError as error:
                where = f"{name}, given shape {shapes[-1]}: {error.where}"
                raise ShapeError(where, error.found, error.needed, error.remedy) from error
        return shapes

    def inner(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """The inner layers with their names and what shape each takes."""
        for (name, layer), at in zip(self._named(), self._shapes(shape), strict=False):
            yield name, layer, at
