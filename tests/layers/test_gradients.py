"""I and W against central finite differences in float64, for every kind and every loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.layers import KINDS, LOSSES, is_running, leaves, make_tree

from . import text_cases
from .cases import CASES, EVERYTHING, apart, blocks, flat_cases, kinds_in, name_of
from .harness import DirtyScratch, build, differences, make_run, part

LOSS_SHAPES = {
    "softmax_cross_entropy": [(2,), (7,), (3, 4)],
    "mean_squared_error": [(1,), (6,), (2, 3), ()],
}


def test_every_kind_has_cases():
    assert set(CASES) == set(KINDS), "a new kind of layer needs gradient cases in cases.py"
    for kind, cases in CASES.items():
        assert len(cases) >= 3
        assert {table["kind"] for table, _ in cases} == {kind}


def test_a_block_of_every_kind_is_among_the_cases():
    inner = kinds_in([*EVERYTHING, *text_cases.BLOCK])
    assert inner == set(KINDS) - text_cases.ENDS, "add the new kind to EVERYTHING in cases.py"


def test_every_loss_has_cases():
    assert set(LOSS_SHAPES) == set(LOSSES), "a new loss needs shapes in LOSS_SHAPES"


def check_gradients(run):
    run.all(rows=2)

    def value():
        return float(np.sum(run.forward() * run.dy))

    if run.layer.kind == "embedding":
        assert not run.dx.any(), "numbers of tokens have no gradient"
    else:
        np.testing.assert_allclose(run.dx, differences(value, run.x), rtol=1e-6, atol=1e-8)
    gradients = dict(leaves(run.g))
    for path, weight in leaves(run.p):
        if is_running(path):
            continue
        slopes = differences(value, weight)
        np.testing.assert_allclose(gradients[path], slopes, rtol=1e-6, atol=1e-8, err_msg=path)


@pytest.mark.parametrize(("table", "shape"), flat_cases(), ids=name_of)
def test_gradients_of_every_kind(table, shape):
    check_gradients(make_run(build(table), shape))


@settings(max_examples=25, deadline=None)
@given(table=blocks(3), shape=st.sampled_from([(3,), (2, 3)]), rows=st.integers(1, 3), seed=st.integers(0, 99))
def test_gradients_of_random_blocks_along_a_random_direction(table, shape, rows, seed):
    """The slope along one direction in all inputs and weights at once is the gradient's product with it."""
    run = make_run(build(table), shape, rows, seed=seed).all(rows=1)
    random = np.random.default_rng(seed + 1)
    gradients = {"x": run.dx.copy(), **{path: array.copy() for path, array in leaves(run.g)}}
    inputs = {"x": run.x, **dict(leaves(run.p))}
    ways = {path: random.standard_normal(array.shape) for path, array in inputs.items()}
    values, step = [], 1e-6
    for sign in (1, -2):
        for path, array in inputs.items():
            array += sign * step * ways[path]
        values.append(float(np.sum(run.forward() * run.dy)))
    expected = sum(float(np.sum(gradients[path] * ways[path])) for path in inputs)
    lengths = sum(float(np.sum(np.abs(gradients[path] * ways[path]))) for path in inputs)
    # Normalising a feature axis that is nearly constant bends sharply; the step's own error is within 1e-4 of that.
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, abs=1e-4 * (1 + lengths))


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, shapes in LOSS_SHAPES.items() for shape in shapes])
@pytest.mark.parametrize("weight", [1.0, 0.125])
def test_gradients_of_every_loss(kind, shape, weight):
    loss, rows, random = LOSSES[kind], 4, np.random.default_rng(5)
    y = random.standard_normal((rows, *shape))
    wanted = (rows, *loss.target_shape(shape))
    target = random.integers(0, shape[-1], wanted) if loss.labels else random.standard_normal(wanted)
    saved, dy, scratch = make_tree(loss.saved(shape), np.float64, rows), np.full_like(y, np.nan), DirtyScratch()
    loss.forward(y, target, saved, scratch)
    kept = y.copy()
    loss.backward(y, target, saved, dy, weight)
    assert np.array_equal(y, kept)

    slopes = differences(lambda: weight * loss.forward(y, target, saved, scratch)[0], y)
    np.testing.assert_allclose(dy, slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("table", "shape"), apart(flat_cases()), ids=name_of)
def test_samples_do_not_touch_each_other(table, shape):
    """y and dx of a row are the same alone or in company (dropout and batchnorm work by micro-batch)."""
    run = make_run(build(table), shape, rows=4).all()
    alone = part(run, 1, 2).all()
    np.testing.assert_allclose(alone.y[0], run.y[1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(alone.dx[0], run.dx[1], rtol=1e-12, atol=1e-14)
