"""Memory: the steady state allocates nothing large; scratch is handed out again and stays within the stated cost."""

import tracemalloc

import numpy as np
import pytest

from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import LOSSES, Scratch, Update, build_model, layer_costs, make_tree, update_weight

from . import text_cases
from .cases import block, flat_cases, linear, name_of
from .harness import build, make_run


def allocated(work) -> int:
    """The most new bytes alive at a time during `work`, which has run before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


WIDE = block(
    {"kind": "layernorm"},
    linear(512),
    {"kind": "gelu"},
    {"kind": "dropout", "rate": 0.1},
    linear(512),
    {"kind": "leaky_relu"},
    block(linear(512), {"kind": "tanh"}, linear(512), {"kind": "sigmoid"}),
    {"kind": "flatten"},
    linear(512),
    {"kind": "relu"},
)


@pytest.mark.parametrize("shape", [(512,), (4, 512)])
def test_steady_state_allocates_nothing_large(shape):
    """One activation is 128 KiB, one weight 1 MiB; what may be made anew is numpy's small change."""
    table = WIDE if len(shape) == 1 else block(*(layer for layer in WIDE["layers"] if layer["kind"] != "flatten"))
    rows = 64 // (1 if len(shape) == 1 else shape[0])
    run = make_run(build(table), shape, rows, np.float32, scratch=Scratch())

    def work():
        run.all(rows=480)
        run.grad_weight(480, first=False)

    work()
    assert allocated(work) < 64 * 1024


SENTENCES = block(
    {"kind": "layernorm"},
    text_cases.attention(4),
    text_cases.attention(8, key_value_heads=2, rotary=True),
    linear(512),
    {"kind": "swiglu"},
    linear(256),
)


@pytest.mark.parametrize(
    ("table", "shape"),
    [
        (SENTENCES, (128, 256)),
        (text_cases.embedding(3000, 256), (128,)),
        (text_cases.embedding(50, 256), (128,)),
        ({"kind": "unembedding", "tokens": 3000}, (128, 256)),
    ],
    ids=name_of,
)
def test_steady_state_of_texts_allocates_nothing_large(table, shape):
    """One activation is 512 KiB. An embedding sorts 512 numbers of tokens, 8 bytes each, with a few more arrays; heads
    are strided views, which numpy takes through buffers of 8192 elements for each of three operands."""
    run = make_run(build(table), shape, 4, np.float32, scratch=Scratch())

    def work():
        run.all(rows=480)
        run.grad_weight(480, first=False)

    work()
    assert allocated(work) < 112 * 1024


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_allocate_nothing_large(kind):
    """The outputs are 512 KiB; numpy sums float32 into float64 through a buffer of 64 KiB."""
    loss, scratch, y = LOSSES[kind], Scratch(), np.ones((256, 512), np.float32)
    target = np.arange(256) if loss.labels else np.zeros((256, 512), np.float32)
    saved, dy = make_tree(loss.saved((512,)), np.float32, 256), np.empty_like(y)

    def work():
        mark = scratch.mark()
        loss.forward(y, target, saved, scratch)
        scratch.release(mark)
        loss.backward(y, target, saved, dy, 0.25)

    work()
    assert allocated(work) < 80 * 1024


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_updates_allocate_nothing_large(optimizer):
    weight, gradient, *state = (np.ones((512, 512), np.float32) for _ in range(4))
    kept = {"momentum": state[0]} if optimizer == "sgd" else {"mean": state[0], "square": state[1]}
    update, scratch = Update(TrainSettings(optimizer=optimizer, weight_decay=0.1), 1, 0.1, 0.5), Scratch()

    def work():
        update_weight(update, weight, gradient, kept, scratch)

    work()
    assert allocated(work) < 64 * 1024


def test_scratch_hands_the_same_memory_out_again():
    scratch = Scratch()
    mark = scratch.mark()
    first = scratch.take((4, 3), np.float32)
    second = scratch.take((2,), np.float32)
    assert not np.shares_memory(first, second)
    scratch.release(mark)
    third = scratch.take((6,), np.float32)
    assert np.shares_memory(first, third)
    assert third.shape == (6,)
    assert not np.shares_memory(scratch.take((2,), np.float32), third)


def test_scratch_grows_where_more_is_wanted():
    scratch = Scratch()
    for size in (1, 100, 10, 1000):
        mark = scratch.mark()
        array = scratch.take((size,), np.float64)
        array.fill(size)
        assert array.shape == (size,)
        scratch.release(mark)


@pytest.mark.parametrize(("table", "shape"), flat_cases(), ids=name_of)
def test_scratch_stays_within_what_the_cost_states(table, shape):
    # Neither the first weights nor the last layer, for these have other things in their cost.
    front, given = [linear(shape[-1])] if shape else [], shape or (1,)
    if table["kind"] == "unembedding":
        front, given = [text_cases.embedding(table["tokens"], shape[-1])], shape[:-1]
    model = build_model(ModelSettings((*front, table, *[linear(2)] * 2), "mean_squared_error"), given)
    for rows, tile_rows in [(1, 2), (1, 1000), (5, 2), (5, 1000)]:
        run = make_run(build(table), shape, rows, np.float32)
        run.all(tile_rows)
        run.grad_weight(tile_rows, first=False)
        train = TrainSettings(batch=rows, micro_batch=rows, tile_rows=tile_rows)
        assert run.scratch.peak_bytes <= layer_costs(model, train)[len(front)].scratch_bytes
