"""Times of layers whose work is a sleep of known length, and of real ones."""

import math
import threading
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from virtual_time import VirtualTime

from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import build_model, layer_costs, signature
from mpipipe.layers.losses import MeanSquaredError
from mpipipe.layers.model import Model
from mpipipe.layers.parts import PART_FLOPS
from mpipipe.layers.types import Cost, Weightless, Work
from mpipipe.runtime import timing
from mpipipe.runtime.timing import Timing, swept_bytes, time_layers

ROWS = 4
TRAIN = TrainSettings(batch=8, micro_batch=ROWS, epochs=1)
PLENTY = 1 << 40


@dataclass(frozen=True)
class Sleepy(Weightless):
    """A layer of 3 numbers with `pieces` pieces of W, which notes who adds to which gradients when."""

    forward_s: float
    input_s: float
    weight_s: float
    pieces: int
    kind: ClassVar[str] = "sleepy"
    together: ClassVar[set] = set()
    clashes: ClassVar[list] = []

    def output_shape(self, shape):
        return shape

    def parameters(self, shape):
        return {"weight": (self.pieces, 2)}

    def cost(self, shape):
        return Cost(Work(), Work(), Work(self.pieces * PART_FLOPS / ROWS, 0))

    def tiles(self, shape, rows):
        return tuple((i, i + 1) for i in range(self.pieces))

    def forward(self, p, x, y, saved, key, scratch):
        assert np.abs(x).min() > 0 and key is not None
        y[...] = x
        scratch.clock.sleep(self.forward_s)

    def grad_input(self, p, x, y, dy, dx, saved, held, scratch):
        scratch.clock.sleep(self.input_s)

    def grad_weight(self, p, tile, x, dy, saved, held, g, first, scratch):
        place = (id(g["weight"]), tile)
        self.clashes.extend([place] if place in self.together or first else [])
        self.together.add(place)
        scratch.clock.sleep(self.weight_s)
        self.together.discard(place)


def model_of(*layers):
    names = tuple(f"{i:03d}_{layer.kind}" for i, layer in enumerate(layers))
    return Model(layers, names, ((3,),) * (len(layers) + 1), MeanSquaredError())


def ticking(threads):
    """A virtual clock that takes a microsecond to look at: what took no time at all would be repeated for ever."""
    virtual = VirtualTime(threads)

    def now():
        virtual.now_s += 1e-6
        return virtual.now_s

    return replace(virtual.clock, now=now)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_seconds_of_one_thread_for_a_micro_batch(threads, pieces):
    """However many threads there are; all pieces of W add up; no piece is done twice at once on the same gradients."""
    layer = Sleepy(0.004, 0.006, 0.003, pieces)
    model = model_of(layer, layer, layer)
    Sleepy.clashes.clear()
    clock = ticking(1 + threads)
    (times,) = time_layers(model, [signature(model, 1)], Timing(TRAIN, threads, PLENTY, 1 << 10, clock=clock))
    assert (times.layer, times.micro_batch) == (signature(model, 1), ROWS)
    assert times.forward_s == pytest.approx(0.004, rel=2e-3)
    assert times.input_s == pytest.approx(0.006, rel=2e-3)
    assert times.weight_s == pytest.approx(0.003 * pieces, rel=2e-3)
    assert Sleepy.clashes == []


def test_a_gradient_that_nobody_wants_takes_no_time():
    layer = Sleepy(0.001, 0.05, 0.001, 1)
    model = model_of(layer, layer)
    first, last = time_layers(
        model, [signature(model, i) for i in (0, 1)], Timing(TRAIN, 1, PLENTY, 1 << 10, clock=ticking(2))
    )
    assert first.input_s == 0
    assert last.input_s == pytest.approx(0.05, rel=2e-3)


@pytest.mark.parametrize("kind", ["softmax_cross_entropy", "mean_squared_error"])
def test_real_layers(kind):
    layers = [{"kind": "linear", "outputs": 16}, {"kind": "relu"}, {"kind": "linear", "outputs": 16}]
    model = build_model(ModelSettings(loss=kind, layers=tuple(layers)), (16,))
    names = [signature(model, i) for i in range(3)]
    times = time_layers(model, names, Timing(TRAIN, 2, PLENTY, 1 << 10))
    assert [one.layer for one in times] == names
    assert all(0 < one.forward_s < math.inf for one in times)
    assert [one.input_s > 0 for one in times] == [False, True, True]
    assert [one.weight_s > 0 for one in times] == [True, False, True]


def test_a_layer_that_there_is_no_room_for_is_left_out():
    layers = [{"kind": "linear", "outputs": outputs} for outputs in (8, 4096, 8)]
    model = build_model(ModelSettings(loss="mean_squared_error", layers=tuple(layers)), (8,))
    names = [signature(model, i) for i in range(3)]
    room = 2 * layer_costs(model, TRAIN)[1].weight_bytes
    found = time_layers(model, names, Timing(TRAIN, 1, room, 1 << 10))
    assert [one.layer for one in found] == names[:1]
    found = time_layers(model, names, Timing(TRAIN, 1, 4 * room, 1 << 10))
    assert [one.layer for one in found] == names


def test_a_layer_that_cannot_be_allocated_is_left_out(monkeypatch):
    def full(share):
        raise MemoryError

    monkeypatch.setattr(timing, "Stage", full)
    model = model_of(Sleepy(0, 0, 0, 1))
    assert time_layers(model, [signature(model, 0)], Timing(TRAIN, 1, PLENTY, 1 << 10)) == ()


def test_what_a_layer_raises_comes_out_and_no_thread_is_left():
    @dataclass(frozen=True)
    class Broken(Sleepy):
        def forward(self, p, x, y, saved, key, scratch):
            raise ZeroDivisionError

    model, before = model_of(Broken(0, 0, 0, 1)), threading.active_count()
    with pytest.raises(timing.ActionError, match=r"timing sleepy\(.*\) of 3") as caught:
        time_layers(model, [signature(model, 0)], Timing(TRAIN, 2, PLENTY, 1 << 10))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert threading.active_count() == before


def test_what_is_swept_is_a_stage_and_never_too_much():
    model = model_of(*[Sleepy(0, 0, 0, 100)] * 6)
    costs = layer_costs(model, TRAIN)
    whole = swept_bytes(costs, 1)
    assert whole.bit_count() == 1 and swept_bytes(costs, 2) == whole // 2
    assert swept_bytes(costs * 10**6, 1) == timing.MOST_SWEPT_BYTES
    assert swept_bytes(costs, 10**9) == 1
