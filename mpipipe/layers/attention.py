"""Causal self-attention: every place looks at itself and the places before it."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from mpipipe.errors import ShapeError
from mpipipe.layers.linear import Linear
from mpipipe.layers.rotary import turn
from mpipipe.layers.scores import attend, attend_back, attend_run, power_shapes, runs
from mpipipe.layers.types import Array, Cost, Key, Scratch, Shape, Shapes, Tile, Tree, Work, size


@dataclass(frozen=True)
class Attention:
    """x (places, width) to y (places, width): softmax(q k^T / sqrt(d)) v in each of `heads` heads of d = width / heads
    features, between a product that makes q, k and v and one that mixes the heads (Vaswani et al. 2017, section 3.2).

    With `key_value_heads` fewer (0: as many as heads), runs of heads share keys and values (Ainslie et al. 2023). With
    `rotary`, queries and keys are turned by angles that grow with the place (Su et al. 2021, section 3.2.2; halves, as
    GPT-NeoX has them). Inner layers `qkv` and `mix` are linear; their weights are drawn with standard deviation
    sqrt(1 / width), those of `mix` times `gain`.
    """

    heads: int
    key_value_heads: int = 0
    rotary: bool = False
    bias: bool = True
    gain: float = 1.0
    kind: ClassVar[str] = "attention"
    reads_output: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of x."""
        if self.heads < 1 or self.key_value_heads < 0:
            found = f"heads {self.heads}, key_value_heads {self.key_value_heads}"
            raise ShapeError("attention", found, "at least one head, and no negative number of key_value_heads")
        if len(shape) != 2 or 0 in shape:
            raise ShapeError("attention", f"samples of shape {shape}", "(places, width)")
        if self.heads % self._groups:
            found = f"{self.heads} heads, {self._groups} key_value_heads"
            raise ShapeError("attention", found, "a number of heads that key_value_heads divides")
        if shape[1] % self.heads:
            raise ShapeError("attention", f"width {shape[1]}, {self.heads} heads", "a width that the heads divide")
        if self.rotary and shape[1] // self.heads % 2:
            raise ShapeError("attention.rotary", f"{shape[1] // self.heads} features a head", "an even number of them")
        return shape

    def parameters(self, shape: Shape) -> Shapes:
        """Those of the two products."""
        qkv, mix = self._products(shape)
        return {"qkv": qkv.parameters(shape), "mix": mix.parameters(shape)}

    def saved(self, shape: Shape) -> Shapes:
        """q (scaled), k and v; exponentials (keys, queries) of each head; 1 / their sums; the heads' outputs."""
        places = shape[0]
        return {
            "qkv": (places, self._products(shape)[0].outputs),
            "powers": power_shapes(self._groups, self.heads // self._groups, places),
            "inverse": (self._groups, self.heads // self._groups, 1, places),
            "out": shape,
        }

    def held(self, shape: Shape) -> Shapes:
        """The gradient by q, k and v as the first product made them."""
        return {"dqkv": (shape[0], self._products(shape)[0].outputs)}

    def cost(self, shape: Shape) -> Cost:
        """The two products; in each head two products in F and four in I; passes over the scores, of which I takes one
        set, with the gradient by the heads' outputs and as much again."""
        qkv, mix = (layer.cost(shape) for layer in self._products(shape))
        places, width = shape
        seen = sum(keys * (keys - first) for _, first, keys in runs(places))
        scores, out = float(self.heads * seen), float(qkv_size(self, shape))
        product = 2.0 * seen * width
        head = Cost(
            Work(2 * product, 9 * scores + out), Work(4 * product, 2 * scores + 3 * size(shape) + out), Work(), 0.0
        )
        sums = self.heads * places
        return qkv + mix + head + Cost(scratch=scores + 2 * size(shape) + sums)

    def initialise(self, p: Tree, key: Key) -> None:
        """Draw both weights, clear the biases."""
        width = p["qkv"]["weight"].shape[0]
        for i, layer in enumerate(self._products((1, width))):
            layer.initialise(p[("qkv", "mix")[i]], key.child(i))

    def forward(self, p: Tree, x: Array, y: Array, saved: Tree, key: Key | None, scratch: Scratch) -> None:
        """q, k and v; attention in each head; mix."""
        qkv, mix = self._products(x.shape[1:])
        qkv.forward(p["qkv"], x, saved["qkv"], {}, key, scratch)
        q, k, v = self._ready(saved["qkv"], 0, scratch)
        attend(q, k, v, saved["powers"], saved["inverse"], self._outs(saved["out"]))
        mix.forward(p["mix"], saved["out"], y, {}, key, scratch)

    def grad_input(
        self, p: Tree, x: Array, y: Array, dy: Array, dx: Array, saved: Tree, held: Tree, scratch: Scratch
    ) -> None:
        """Back through mix, the heads, and the product that made q, k and v."""
        qkv, mix = self._products(x.shape[1:])
        dout = scratch.take(saved["out"].shape, dy.dtype)
        mix.grad_input(p["mix"], saved["out"], y, dy, dout, {}, {}, scratch)
        d, heads, (dq, dk, dv) = self._outs(dout), self._heads(saved["qkv"]), self._heads(held["dqkv"])
        np.multiply(d, saved["inverse"].swapaxes(-1, -2), out=d)
        dot = np.vecdot(d, self._outs(saved["out"]), out=scratch.take(d.shape[:-1], dy.dtype))
        attend_back(heads, saved["powers"], dot, d, (dq, dk, dv), scratch)
        if self.rotary:
            turn((dq, dk), 0, -1.0, scratch)
        np.multiply(dq, 1 / math.sqrt(dq.shape[-1]), out=dq)
        qkv.grad_input(p["qkv"], x, saved["qkv"], held["dqkv"], dx, {}, {}, scratch)

    def tiles(self, shape: Shape, rows: int) -> tuple[Tile, ...]:
        """Those of the two products, each behind its number."""
        return tuple((i, *tile) for i, one in enumerate(self._products(shape)) for tile in one.tiles(shape, rows))

    def grad_weight(
        self, p: Tree, tile: Tile, x: Array, dy: Array, saved: Tree, held: Tree, g: Tree, first: bool, scratch: Scratch
    ) -> None:
        """The product's tile."""
        which, *rest = tile
        layer, name = self._products(x.shape[1:])[which], ("qkv", "mix")[which]
        into, by = (x, held["dqkv"]) if which == 0 else (saved["out"], dy)
        layer.grad_weight(p[name], tuple(rest), into, by, {}, {}, g[name], first, scratch)

    def cache(self, shape: Shape) -> Shapes:
        """Keys and values of all places."""
        return dict.fromkeys(("k", "v"), (self._groups, 1, shape[0], shape[1] // self.heads))

    def extend(self, p: Tree, x: Array, y: Array, cache: Tree, start: int, scratch: Scratch) -> None:
        """Places `start` and on, with the keys and values of those before from the cache."""
        qkv, mix = self._products(x.shape[1:])
        made = scratch.take((*x.shape[:-1], qkv.outputs), x.dtype)
        qkv.forward(p["qkv"], x, made, {}, None, scratch)
        q, k, v = self._ready(made, start, scratch)
        stop = start + x.shape[1]
        keys, values = cache["k"][..., :stop, :], cache["v"][..., :stop, :]
        keys[..., start:, :], values[..., start:, :] = k, v
        powers = scratch.take((*q.shape[:-2], stop, x.shape[1]), x.dtype)
        inverse = scratch.take((*q.shape[:-2], 1, x.shape[1]), x.dtype)
        out = scratch.take(x.shape, x.dtype)
        attend_run(q, keys, values, powers, inverse, self._outs(out))
        mix.forward(p["mix"], out, y, {}, None, scratch)

    @property
    def _groups(self) -> int:
        return self.key_value_heads or self.heads

    def _products(self, shape: Shape) -> tuple[Linear, Linear]:
        return _linears(self, shape[1])

    def _ready(self, qkv: Array, start: int, scratch: Scratch) -> tuple[Array, Array, Array]:
        """The heads of q, k and v of places `start` and on; q scaled and, if wanted, q and k turned, in place."""
        q, k, v = self._heads(qkv)
        np.multiply(q, 1 / math.sqrt(q.shape[-1]), out=q)
        if self.rotary:
            turn((q, k), start, 1.0, scratch)
        return q, k, v

    def _heads(self, qkv: Array) -> tuple[Array, Array, Array]:
        """Views (samples, groups, heads of a group or 1, places, features) of q, k and v."""
        samples, places, outputs = qkv.shape
        groups, per = self._groups, self.heads // self._groups
        d = outputs // (self.heads + 2 * groups)
        parts = qkv[..., : self.heads * d], qkv[..., self.heads * d : -groups * d], qkv[..., -groups * d :]
        views = (
            part.reshape(samples, places, groups, count, d).transpose(0, 2, 3, 1, 4)
            for part, count in zip(parts, (per, 1, 1), strict=True)
        )
        q, k, v = views
        return q, k, v

    def _outs(self, out: Array) -> Array:
        """The same of the heads' outputs."""
        samples, places, width = out.shape
        groups, per = self._groups, self.heads // self._groups
        return out.reshape(samples, places, groups, per, width // self.heads).transpose(0, 2, 3, 1, 4)


def qkv_size(layer: Attention, shape: Shape) -> int:
    """Elements of q, k and v of one sample."""
    groups = layer.key_value_heads or layer.heads
    return size(shape) * (layer.heads + 2 * groups) // layer.heads


@lru_cache(64)
def _linears(layer: Attention, width: int) -> tuple[Linear, Linear]:
    groups = layer.key_value_heads or layer.heads
    both = width // layer.heads * (layer.heads + 2 * groups)
    # A linear layer draws with sqrt(2 / inputs), made for relu; there is none here.
    plain = math.sqrt(0.5)
    return Linear(both, layer.bias, plain), Linear(width, layer.bias, plain * layer.gain)
