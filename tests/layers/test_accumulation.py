"""W in portions: micro-batches added up equal the whole batch, and tiles of any size give the same gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.layers import leaves, make_tree

from .cases import apart, block, flat_cases, linear, name_of
from .harness import blank, build, copies, make_run, part

BLOCK = block({"kind": "layernorm"}, linear(9), {"kind": "gelu"}, linear(4))
WEIGHTS = [(table, shape) for table, shape in flat_cases() if build(table).parameters(shape)]


def assert_same(left, right, rtol=1e-12, atol=1e-13):
    right = dict(right)
    for path, array in left:
        np.testing.assert_allclose(array, right[path], rtol=rtol, atol=atol, err_msg=path)


def assert_bits(left, right):
    left, right = dict(left), dict(right)
    assert left.keys() == right.keys()
    for path, array in left.items():
        assert array.tobytes() == right[path].tobytes(), path


@pytest.mark.parametrize(("table", "shape"), apart(WEIGHTS), ids=name_of)
def test_micro_batches_add_up_to_the_whole_batch(table, shape):
    whole = make_run(build(table), shape, rows=8).all(rows=2)
    total = blank(make_tree(whole.layer.parameters(shape), np.float64))
    for start, stop in [(0, 3), (3, 6), (6, 8)]:
        piece = part(whole, start, stop)
        piece.forward()
        piece.grad_input()
        piece.grad_weight(rows=2, first=start == 0, into=total)
    assert_same(leaves(total), leaves(whole.g))


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), micro=st.integers(1, 9), tile=st.integers(1, 12), seed=st.integers(0, 99))
def test_any_micro_batch_and_tile_size(rows, micro, tile, seed):
    whole = make_run(build(BLOCK), (2, 4), rows, seed=seed).all()
    total = blank(make_tree(whole.layer.parameters((2, 4)), np.float64))
    for start in range(0, rows, micro):
        piece = part(whole, start, min(start + micro, rows))
        piece.forward()
        piece.grad_input()
        piece.grad_weight(tile, start == 0, total)
    assert_same(leaves(total), leaves(whole.g))


@pytest.mark.parametrize("tile", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(("table", "shape"), WEIGHTS, ids=name_of)
def test_tiles_of_any_size_give_the_same(table, shape, tile):
    whole = make_run(build(table), shape).all()
    tiled = make_run(build(table), shape).all(tile)
    assert_same(leaves(tiled.g), leaves(whole.g))


@pytest.mark.parametrize(("table", "shape"), WEIGHTS, ids=name_of)
def test_tiles_in_any_order_give_the_same_bits(table, shape):
    forth = make_run(build(table), shape, dtype=np.float32).all(2)
    back = make_run(build(table), shape, dtype=np.float32)
    back.forward()
    back.grad_input()
    for tile in reversed(back.layer.tiles(shape, 2)):
        back.layer.grad_weight(back.p, tile, back.x, back.dy, back.saved, back.held, back.g, True, back.scratch)
    assert_bits(leaves(back.g), leaves(forth.g))


@pytest.mark.parametrize("first", [True, False])
def test_tiles_cover_each_row_once(first):
    run = make_run(build(linear(3)), (7,)).all()
    assert run.layer.tiles((7,), 3) == ((0, 3), (3, 6), (6, 7))
    assert run.layer.tiles((7,), 7) == ((0, 7),)
    total = make_tree(run.layer.parameters((7,)), np.float64)
    run.grad_weight(3, first, total)
    assert_same(leaves(total), leaves(run.g))


def test_tiles_of_a_block_are_those_of_its_layers():
    layer = build(BLOCK)
    assert layer.tiles((2, 4), 3) == ((0, 0, 4), (1, 0, 3), (1, 3, 4), (3, 0, 3), (3, 3, 6), (3, 6, 9))


@pytest.mark.parametrize(("table", "shape"), flat_cases(), ids=name_of)
def test_the_same_work_gives_the_same_bits(table, shape):
    """Fresh arrays, a used scratch, another order of micro-batches' work: not a bit differs."""
    once = [make_run(build(table), shape, dtype=np.float32, seed=seed) for seed in (0, 1)]
    for run in once:
        run.all(2)
    again = [make_run(build(table), shape, dtype=np.float32, seed=seed) for seed in (0, 1)]
    again[1].scratch = again[0].scratch
    for run in again:
        run.forward()
    for run in reversed(again):
        run.grad_input()
    for run in again:
        run.grad_weight(2)
    for left, right in zip(once, again, strict=True):
        assert_bits(left.written(), right.written())


def test_added_up_gradients_do_not_lose_what_was_there():
    run = make_run(build(BLOCK), (2, 4)).all(3)
    kept = copies(list(leaves(run.g)))
    run.grad_weight(3, first=False)
    assert_same(leaves(run.g), ((path, 2 * array) for path, array in kept.items()))
