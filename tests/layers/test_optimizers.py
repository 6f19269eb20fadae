"""Optimizers against the papers' formulas, written down plainly in float64; rates; the norm's sum of squares."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.job import TrainSettings
from mpipipe.job.settings import OPTIMIZERS
from mpipipe.layers import STATE, TINY, Scratch, Update, clear_below, learning_rate, square_sum, update_weight
from mpipipe.layers.optimizers import CLEAR_EVERY, RUN

from .harness import DirtyScratch


def sgd(w, gradients, rates, s):
    v = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        v = s.momentum * v + (g + s.weight_decay * w)
        w = w - rate * v
    return w


def adam(w, gradients, rates, s):
    """Kingma and Ba 2015, algorithm 1; the decay is a part of the gradient."""
    m = v = np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        g = g + s.weight_decay * w
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g**2
        w = w - rate * (m / (1 - s.beta1**t)) / (np.sqrt(v / (1 - s.beta2**t)) + s.epsilon)
    return w


def adamw(w, gradients, rates, s):
    """Loshchilov and Hutter 2019, algorithm 2, with the schedule's multiplier inside the rate."""
    m = v = np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g**2
        step = rate * (m / (1 - s.beta1**t)) / (np.sqrt(v / (1 - s.beta2**t)) + s.epsilon)
        w = w - step - rate * s.weight_decay * w
    return w


FORMULAS = {"sgd": sgd, "adam": adam, "adamw": adamw}


def run_updates(train, weight, gradients, rates, scale=1.0, scratch=None):
    weight = weight.copy()
    state = {name: np.zeros_like(weight) for name in STATE[train.optimizer]}
    scratch = scratch or DirtyScratch()
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        update_weight(Update(train, step, rate, scale), weight, gradient, state, scratch)
    return weight, state


def test_every_optimizer_has_a_formula():
    assert set(FORMULAS) == set(OPTIMIZERS) <= set(STATE)


@settings(max_examples=60, deadline=None)
@given(
    optimizer=st.sampled_from(sorted(FORMULAS)),
    decay=st.sampled_from([0.0, 0.1]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)]),
    epsilon=st.sampled_from([1e-8, 1e-3]),
    scale=st.sampled_from([1.0, 0.25]),
    shape=st.sampled_from([(1,), (7,), (3, 4), (2, 3, 4)]),
    seed=st.integers(0, 99),
)
def test_updates_follow_the_formulas(optimizer, decay, momentum, betas, epsilon, scale, shape, seed):
    random, rates = np.random.default_rng(seed), [0.1, 0.2, 0.05, 0.05, 0.01]
    weight, gradients = random.standard_normal(shape), [random.standard_normal(shape) for _ in rates]
    train = TrainSettings(
        optimizer=optimizer, weight_decay=decay, momentum=momentum, beta1=betas[0], beta2=betas[1], epsilon=epsilon
    )
    wanted = FORMULAS[optimizer](weight, [scale * gradient for gradient in gradients], rates, train)
    got, _ = run_updates(train, weight, gradients, rates, scale)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)
    narrow = [gradient.astype(np.float32) for gradient in gradients]
    got, _ = run_updates(train, weight.astype(np.float32), narrow, rates, scale)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("optimizer", FORMULAS)
def test_runs_of_elements_do_not_change_a_bit(optimizer):
    random, train = np.random.default_rng(0), TrainSettings(optimizer=optimizer, weight_decay=0.1)
    shape = (3, RUN // 2 + 5)
    weight = random.standard_normal(shape).astype(np.float32)
    gradients = [random.standard_normal(shape).astype(np.float32) for _ in range(2)]
    got, state = run_updates(train, weight, gradients, [0.1, 0.1])
    for row in range(3):
        alone, kept = run_updates(train, weight[row], [gradient[row] for gradient in gradients], [0.1, 0.1])
        assert alone.tobytes() == got[row].tobytes()
        assert all(kept[name].tobytes() == state[name][row].tobytes() for name in kept)


@pytest.mark.parametrize("optimizer", FORMULAS)
def test_gradients_are_only_read_and_scratch_is_given_back(optimizer):
    scratch, gradient = Scratch(), np.arange(6, dtype=np.float32).reshape(2, 3)
    kept = gradient.copy()
    run_updates(TrainSettings(optimizer=optimizer, weight_decay=0.1), gradient + 1, [gradient], [0.1], scratch=scratch)
    assert np.array_equal(gradient, kept)
    assert scratch.mark() == 0


def test_the_first_adam_step_is_the_rate_in_the_gradients_direction():
    weight, _ = run_updates(TrainSettings(optimizer="adam"), np.zeros(3), [np.array([4.0, -1e-3, 0.0])], [0.1])
    np.testing.assert_allclose(weight, [-0.1, 0.1, 0.0], rtol=1e-4)


@pytest.mark.parametrize(
    "keys",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.6},
        {"optimizer": "adam", "beta2": 0.9},
        {"optimizer": "adamw", "beta1": 0.99, "beta2": 0.8},
    ],
)
def test_state_that_decays_becomes_zero_and_never_subnormal(keys):
    """Each element gets a gradient once, of any size; then nothing for long."""
    train, generator = TrainSettings(**keys), np.random.default_rng(0)
    weight, state = np.zeros(600, np.float32), {name: np.zeros(600, np.float32) for name in STATE[keys["optimizer"]]}
    scratch = Scratch()
    for step in range(1, 600 + 12_000):
        gradient = np.zeros(600, np.float32)
        if step <= 600:
            gradient[step - 1] = generator.choice([-1, 1]) * 10.0 ** generator.uniform(-8, 3)
        update_weight(Update(train, step, 0.01, 1.0), weight, gradient, state, scratch)
        for kept in state.values():
            assert not np.any((np.abs(kept) < TINY) & (kept != 0))
    assert all(not kept.any() for kept in state.values())


@settings(max_examples=50, deadline=None)
@given(
    optimizer=st.sampled_from(sorted(FORMULAS)),
    exponent=st.integers(-30, 20),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)]),
    seed=st.integers(0, 99),
)
def test_what_is_not_subnormal_is_updated_to_the_same_bits_at_every_step(optimizer, exponent, betas, seed):
    """The step at which state is cleared does to ordinary numbers what its neighbour does."""
    train = TrainSettings(optimizer=optimizer, beta1=betas[0], beta2=betas[1])
    generator = np.random.default_rng(seed)
    weight, gradient = (generator.standard_normal(50).astype(np.float32) * np.float32(2.0**exponent) for _ in range(2))
    gradient[::7] = 0
    results = []
    for step in (CLEAR_EVERY, CLEAR_EVERY + 1):
        state = {name: np.full(50, 2.0**exponent, np.float32) for name in STATE[optimizer]}
        update_weight(Update(train, step, 0.01, 1.0), weight.copy(), gradient, state, Scratch())
        results.append({name: kept.tobytes() for name, kept in state.items()})
    assert results[0] == results[1]


@given(st.lists(st.floats(width=32), min_size=1))
def test_clearing_keeps_every_other_number_infinity_and_nan(values):
    array = np.array(values, np.float32)
    wanted = np.where(np.abs(array) < TINY, 0, array)
    clear_below(TINY, array, np.empty_like(array))
    np.testing.assert_array_equal(array, wanted)


def rates(total, **keys):
    return [learning_rate(TrainSettings(**keys), step, total) for step in range(total + 1)]


def test_constant_rate():
    assert rates(5, learning_rate=0.2) == [0.2] * 6


def test_warm_up_is_linear_and_ends_at_the_rate():
    assert rates(6, learning_rate=0.4, warmup_steps=4) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])


def test_cosine_from_the_rate_to_the_floor():
    got = rates(12, learning_rate=1.0, rate_schedule="cosine", warmup_steps=2, rate_floor=0.2)
    wanted = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(11)]
    assert got == pytest.approx([0.5, 1.0, *wanted])
    assert got[7] == pytest.approx(0.6)
    assert got[12] == pytest.approx(0.2)


def test_cosine_stays_at_the_floor_afterwards():
    train = TrainSettings(learning_rate=1.0, rate_schedule="cosine", rate_floor=0.1)
    assert learning_rate(train, 25, 10) == pytest.approx(0.1)


def test_steps_drop_by_the_factor_and_stop_at_the_floor():
    steps = {"rate_schedule": "step", "rate_step": 2, "rate_factor": 0.1, "rate_floor": 0.005}
    got = rates(9, learning_rate=1.0, warmup_steps=1, **steps)
    assert got == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.005, 0.005, 0.005])


@settings(max_examples=100, deadline=None)
@given(
    schedule=st.sampled_from(["constant", "cosine", "step"]),
    warmup=st.integers(0, 30),
    total=st.integers(1, 30),
    step=st.integers(0, 40),
)
def test_rates_stay_between_floor_and_rate_and_never_rise_after_the_warm_up(schedule, warmup, total, step):
    train = TrainSettings(
        learning_rate=1.0, rate_schedule=schedule, warmup_steps=warmup, rate_step=3, rate_factor=0.5, rate_floor=0.01
    )
    rate, after = learning_rate(train, step, total), learning_rate(train, step + 1, total)
    assert 0.01 - 1e-12 <= rate <= 1
    assert (after > rate) == (step + 1 < warmup)


def test_square_sum_by_hand():
    assert square_sum(np.array([3.0, 4.0], np.float32)) == 25
    assert square_sum(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)) == 30
    assert isinstance(square_sum(np.ones((2, 3, 4), np.float32)), float)


def test_square_sum_adds_rows_in_float64():
    """In float32, 16,777,216 + 1 is 16,777,216."""
    assert square_sum(np.array([[4096.0], [1.0]], np.float32)) == 4096.0**2 + 1


def test_square_sum_shows_what_is_not_finite():
    assert math.isnan(square_sum(np.array([1.0, np.nan], np.float32)))
    assert math.isinf(square_sum(np.array([1.0, np.inf], np.float32)))
