"""Losses against their definitions, at the ends of what floats can hold, and cut into micro-batches."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import JobError, ShapeError
from mpipipe.layers import LOSSES, find_loss, make_tree

from .harness import DirtyScratch

CROSS, SQUARES = LOSSES["softmax_cross_entropy"], LOSSES["mean_squared_error"]


def evaluate(loss, y, target, weight=1.0):
    saved, dy = make_tree(loss.saved(y.shape[1:]), y.dtype, len(y)), np.full_like(y, np.nan)
    value, right = loss.forward(y, target, saved, DirtyScratch())
    loss.backward(y, target, saved, dy, weight)
    return value, right, dy


def test_cross_entropy_by_hand():
    y = np.log(np.array([[0.2, 0.3, 0.5], [0.7, 0.1, 0.2]]))
    value, right, dy = evaluate(CROSS, y, np.array([2, 1]), 0.5)
    assert value == pytest.approx(-math.log(0.5) - math.log(0.1))
    assert right == 1
    np.testing.assert_allclose(dy, 0.5 * np.array([[0.2, 0.3, -0.5], [0.7, -0.9, 0.2]]))


def test_squares_by_hand():
    y, target = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[0.0, 4.0], [0.0, 0.0]])
    value, right, dy = evaluate(SQUARES, y, target, 0.5)
    assert (value, right) == ((1 + 4) / 2 + (0 + 1) / 2, 0)
    np.testing.assert_allclose(dy, [[0.5, -1.0], [0.0, -0.5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_outputs_stay_finite(dtype):
    y = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [-1e4, 1e4, 1e4]], dtype)
    value, _, dy = evaluate(CROSS, y, np.array([1, 0, 2, 1]))
    assert value == pytest.approx(2e4 + 2 * math.log(3) + math.log(2), rel=1e-6)
    third = 1 / 3
    wanted = [[1, -1, 0], [third - 1, third, third], [third, third, third - 1], [0, -0.5, 0.5]]
    np.testing.assert_allclose(dy, wanted, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    data=st.data(),
)
def test_any_float32_outputs_give_finite_results_near_the_exact_ones(rows, data):
    y = np.array(rows, np.float32)
    target = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(y), max_size=len(y))))
    value, right, dy = evaluate(CROSS, y, target)
    exact, right_64, dy_64 = evaluate(CROSS, y.astype(np.float64), target)
    assert value == pytest.approx(exact, rel=1e-5, abs=1e-5)
    assert right == right_64
    np.testing.assert_allclose(dy, dy_64, atol=1e-5)
    np.testing.assert_allclose(dy.sum(axis=-1), 0, atol=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_does_not_depend_on_the_cut(kind):
    loss, random = LOSSES[kind], np.random.default_rng(3)
    y = random.standard_normal((10, 4))
    target = random.integers(0, 4, 10) if loss.labels else random.standard_normal((10, 4))
    whole, right, dy = evaluate(loss, y, target, 1 / 10)
    parts = [evaluate(loss, y[start : start + 4], target[start : start + 4], 1 / 10) for start in (0, 4, 8)]
    assert sum(value for value, _, _ in parts) == pytest.approx(whole, rel=1e-14)
    assert sum(count for _, count, _ in parts) == right
    np.testing.assert_array_equal(np.concatenate([part for _, _, part in parts]), dy)


def test_the_sum_is_taken_in_float64():
    """In float32, 16,777,216 + 1 is 16,777,216."""
    y = np.array([[4096.0], [1.0]], np.float32)
    assert evaluate(SQUARES, y, np.zeros_like(y))[0] == 4096.0**2 + 1


def test_places_of_a_sequence_are_summed():
    y = np.random.default_rng(1).standard_normal((2, 3, 4))
    target = np.array([[0, 1, 2], [3, 0, 1]])
    value, right, _ = evaluate(CROSS, y, target)
    flat_value, flat_right, _ = evaluate(CROSS, y.reshape(6, 4), target.reshape(6))
    assert value == pytest.approx(flat_value)
    assert right == flat_right


def test_shapes_of_targets():
    assert CROSS.target_shape((10,)) == ()
    assert CROSS.target_shape((7, 10)) == (7,)
    assert SQUARES.target_shape((7, 10)) == (7, 10)


@pytest.mark.parametrize("shape", [(), (1,), (5, 1)])
def test_cross_entropy_wants_two_outputs(shape):
    with pytest.raises(ShapeError, match="softmax_cross_entropy: .*needed: at least 2 outputs"):
        CROSS.target_shape(shape)


def test_squares_want_an_output():
    with pytest.raises(ShapeError, match="mean_squared_error"):
        SQUARES.target_shape((0,))


def test_unknown_loss():
    assert find_loss("mean_squared_error") is SQUARES
    with pytest.raises(JobError, match="model.loss: unknown loss 'mean_square_error'; did you mean 'mean_squared_"):
        find_loss("mean_square_error")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ignored_targets_count_for_nothing(dtype):
    """Nor do the outputs there, whatever they are."""
    y = np.random.default_rng(2).standard_normal((2, 3, 4)).astype(dtype)
    target = np.array([[0, -1, 2], [-1, 0, 1]])
    value, right, dy = evaluate(CROSS, y, target, 0.5)
    kept = target >= 0
    flat_value, flat_right, flat_dy = evaluate(CROSS, y[kept], target[kept], 0.5)
    assert value == pytest.approx(flat_value, rel=1e-6) and right == flat_right
    np.testing.assert_allclose(dy[kept], flat_dy, rtol=1e-6)
    assert not dy[~kept].any()
    y[~kept] = 1e30
    assert evaluate(CROSS, y, target, 0.5)[:2] == (value, right)


def test_where_all_targets_are_ignored_the_loss_is_0():
    value, right, dy = evaluate(CROSS, np.ones((2, 3, 4), np.float32), np.full((2, 3), -1))
    assert (value, right) == (0, 0) and not dy.any()
    assert CROSS.targets((3, 4)) == 3 and CROSS.targets((4,)) == SQUARES.targets((3, 4)) == 1
