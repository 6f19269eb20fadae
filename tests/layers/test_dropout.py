"""Dropout draws by key and by nothing else."""

import numpy as np
import pytest

from mpipipe.layers import Key

from .cases import block, linear
from .harness import build, make_run

DROPOUT = {"kind": "dropout", "rate": 0.3}


def mask(key, rows=8, table=DROPOUT, shape=(50,)):
    run = make_run(build(table), shape, rows)
    run.x.fill(1)
    run.key = key
    return run.forward().copy()


def test_the_same_key_draws_the_same_mask():
    key = Key((1, 4, 10, 2))
    assert np.array_equal(mask(key), mask(Key((1, 4, 10, 2))))


@pytest.mark.parametrize("place", range(4), ids=["seed", "layer", "step", "micro"])
def test_any_other_key_draws_another_mask(place):
    words = [1, 4, 10, 2]
    words[place] += 1
    assert not np.array_equal(mask(Key((1, 4, 10, 2))), mask(Key(tuple(words))))


def test_words_do_not_run_into_each_other():
    """An inner layer 0 and micro-batch 0 must not draw what its parent would."""
    keys = [(1, 23), (12, 3), (0, 1), (1, 0), (1,), (1, 0, 0), (0, 1, 1), (1, 5, 2, 0, 3), (1, 5, 2, 0, 3, 0)]
    draws = [Key(words).generator().random(4).tolist() for words in keys]
    assert all(draws[i] != draws[j] for i in range(len(keys)) for j in range(i))


def test_inner_layers_draw_from_streams_of_their_own():
    twice = block(DROPOUT, linear(50), DROPOUT)
    run = make_run(build(twice), (50,), 8)
    run.forward()
    assert not np.array_equal(run.saved["0_dropout"]["mask"], run.saved["2_dropout"]["mask"])


def test_evaluating_is_the_identity():
    run = make_run(build(DROPOUT), (3, 4))
    run.key = None
    assert np.array_equal(run.forward(), run.x)


def test_evaluating_reaches_into_blocks():
    run = make_run(build(block(block(DROPOUT))), (5,))
    run.key = None
    np.testing.assert_array_equal(run.forward(), 3 * run.x)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_mean_is_preserved(rate):
    drawn = mask(Key((7,)), rows=400, table={"kind": "dropout", "rate": rate}, shape=(250,))
    assert set(np.unique(drawn)) <= {0.0, 1 / (1 - rate)}
    # 100,000 draws: the mean is off by at most 5 standard errors.
    assert drawn.mean() == pytest.approx(1, abs=5 * np.sqrt(max(rate, 1e-9) / (1 - rate) / drawn.size))
    assert (drawn == 0).mean() == pytest.approx(rate, abs=0.01)


def test_float32_and_float64_drop_at_the_same_rate():
    for dtype in (np.float32, np.float64):
        run = make_run(build(DROPOUT), (1000,), 20, dtype)
        run.forward()
        assert (run.saved["mask"] == 0).mean() == pytest.approx(0.3, abs=0.02)


def test_the_gradient_passes_where_the_value_did():
    run = make_run(build(DROPOUT), (40,)).all()
    assert np.array_equal(run.dx == 0, run.y == 0)
