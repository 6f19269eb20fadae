"""What a layer reads and writes: all that it declares and nothing else, in the buffers' type."""

from typing import Any

import numpy as np
import pytest

from mpipipe.job import TrainSettings
from mpipipe.layers import (
    LOSSES,
    Key,
    Update,
    first_rows,
    leaves,
    make_tree,
    tree_bytes,
    update_weight,
)

from .cases import flat_cases, linear, name_of
from .harness import DirtyScratch, build, copies, make_run

ALL = pytest.mark.parametrize(("table", "shape"), flat_cases(), ids=name_of)


@ALL
def test_everything_declared_is_written_and_finite(table, shape):
    run = make_run(build(table), shape, dtype=np.float32).all(2)
    for path, array in run.written():
        assert np.isfinite(array).all(), path


@ALL
def test_what_is_given_is_only_read(table, shape):
    run = make_run(build(table), shape)
    given = copies(run.given())
    run.all(2)
    for path, array in run.given():
        assert np.array_equal(array, given[path]), path


@ALL
def test_only_layers_that_say_so_read_their_output_again(table, shape):
    kept = make_run(build(table), shape).all()
    lost = make_run(build(table), shape)
    lost.forward()
    if not lost.layer.reads_output:
        lost.y.fill(np.nan)
    lost.grad_input()
    lost.y.fill(np.nan)
    lost.grad_weight()
    for path, array in lost.written():
        assert path == "y" or np.array_equal(array, dict(kept.written())[path]), path


@ALL
def test_w_needs_neither_dx_nor_a_second_f(table, shape):
    """Between F and I, and between I and W, only x, dy, saved and held (and y where it is read again) stay."""
    run = make_run(build(table), shape)
    run.forward()
    saved = copies(list(leaves(run.saved)))
    run.grad_input()
    for path, array in leaves(run.saved):
        assert np.array_equal(array, saved[path]), path
    held = copies(list(leaves(run.held)))
    run.dx.fill(np.nan)
    run.grad_weight(2)
    assert all(np.isfinite(array).all() for _, array in leaves(run.g))
    for path, array in leaves(run.held):
        assert np.array_equal(array, held[path]), path


class Watch(np.ndarray):
    """An array that notes every type that numpy's functions compute with. Python's own numbers widen nothing."""

    seen: set[Any] = set()

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **more):
        for item in (*inputs, *(out or ())):
            if isinstance(item, (np.ndarray, np.generic)):
                Watch.seen.add(item.dtype)
        bare = [item.view(np.ndarray) if isinstance(item, Watch) else item for item in inputs]
        into = tuple(item.view(np.ndarray) if isinstance(item, Watch) else item for item in out) if out else None
        result = getattr(ufunc, method)(*bare, **({"out": into} if into else {}), **more)
        if not out:
            Watch.seen.add(np.asarray(result).dtype)
            return result
        return out[0]


class WatchScratch(DirtyScratch):
    def take(self, shape, dtype):
        return super().take(shape, dtype).view(Watch)


def watched(tree):
    return {name: watched(item) if isinstance(item, dict) else item.view(Watch) for name, item in tree.items()}


@ALL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_other_type_gets_in(table, shape, dtype):
    scratch = WatchScratch()
    run = make_run(build(table), shape, dtype=dtype, scratch=scratch)
    run.p, run.g, run.saved, run.held = watched(run.p), watched(run.g), watched(run.saved), watched(run.held)
    run.x, run.y, run.dx, run.dy = (array.view(Watch) for array in (run.x, run.y, run.dx, run.dy))
    Watch.seen = set()
    run.all(2)
    allowed = {np.dtype(dtype), np.dtype(bool)}
    assert Watch.seen <= allowed | {np.dtype(np.intp)}  # numpy's mean divides by a count
    whole = {np.dtype(np.intp)} if run.layer.kind == "embedding" else set()  # numbers of tokens
    assert scratch.dtypes <= allowed | whole


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_work_in_the_outputs_type(kind):
    loss, scratch, y = LOSSES[kind], DirtyScratch(), np.ones((4, 3), np.float32)
    target = np.arange(4) % 3 if loss.labels else np.zeros((4, 3), np.float32)
    saved, dy = make_tree(loss.saved((3,)), np.float32, 4), np.full_like(y, np.nan)
    loss.forward(y, target, saved, scratch)
    loss.backward(y, target, saved, dy, 0.25)
    assert np.isfinite(dy).all()
    assert scratch.dtypes <= {np.dtype(np.float32)}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_updates_work_in_the_weights_type(optimizer):
    scratch = WatchScratch()
    weight, gradient, *state = (np.ones((5, 3), np.float32).view(Watch) for _ in range(4))
    kept = {"momentum": state[0]} if optimizer == "sgd" else {"mean": state[0], "square": state[1]}
    Watch.seen = set()
    settings = TrainSettings(optimizer=optimizer, weight_decay=0.1)
    update_weight(Update(settings, 1, 0.1, 0.5), weight, gradient, kept, scratch)
    assert Watch.seen == {np.dtype(np.float32)} == scratch.dtypes


def test_initial_weights_have_the_buffers_type():
    layer = build(linear(4))
    for dtype in (np.float32, np.float64):
        p = make_tree(layer.parameters((3,)), dtype)
        layer.initialise(p, Key((1,)))
        assert {array.dtype for _, array in leaves(p)} == {np.dtype(dtype)}


def test_trees_by_path_rows_and_bytes():
    tree = make_tree({"a": (2,), "inner": {"b": (3, 1), "empty": {}}}, np.float32, rows=4)
    assert [(path, array.shape) for path, array in leaves(tree)] == [("a", (4, 2)), ("inner/b", (4, 3, 1))]
    assert tree_bytes(tree) == 4 * 4 * 5
    cut = first_rows(tree, 2)
    assert cut["inner"]["b"].shape == (2, 3, 1)
    assert np.shares_memory(cut["a"], tree["a"])
    assert [path for path, _ in leaves(tree, "top")] == ["top/a", "top/inner/b"]


@ALL
def test_a_smaller_micro_batch_uses_the_first_rows_of_the_same_arrays(table, shape):
    large, small = make_run(build(table), shape, rows=4), make_run(build(table), shape, rows=3)
    large.x, large.dy, large.p = np.concatenate([small.x, small.x[:1]]), np.concatenate([small.dy] * 2)[:4], small.p
    large.all(2)
    for name in ("x", "y", "dx", "dy"):
        setattr(large, name, getattr(large, name)[:3])
    large.saved, large.held = first_rows(large.saved, 3), first_rows(large.held, 3)
    small.all(2)
    large.all(2)
    for path, array in large.written():
        assert np.array_equal(array, dict(small.written())[path]), path
