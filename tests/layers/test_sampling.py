"""Drawing tokens: only from the set that is asked for, as often as their probabilities say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpipipe.layers import Sampling, sample

LOGITS = arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32))
SETTINGS = st.builds(
    Sampling, st.sampled_from([0.0, 1e-300, 0.01, 0.8, 1.0, 5.0, 1e300]), st.integers(0, 50), st.floats(1e-9, 1)
)
SEEDS = st.integers(0, 2**64 - 1)


def generator(seed=1):
    return np.random.Generator(np.random.Philox(key=seed))


def chances(logits, temperature):
    powers = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return powers / powers.sum()


@given(LOGITS, SEEDS, st.sampled_from([Sampling(0.0), Sampling(1.0, top_k=1), Sampling(1.0, top_p=1e-12)]))
def test_greedy_is_the_first_of_the_largest(logits, seed, settings):
    assert sample(logits, settings, generator(seed)) == int(np.flatnonzero(logits == logits.max())[0])


@given(LOGITS, SETTINGS, SEEDS)
def test_a_token_is_a_number_of_one_and_the_logits_stay(logits, settings, seed):
    before = logits.copy()
    token = sample(logits, settings, generator(seed))
    assert type(token) is int and 0 <= token < len(logits)
    assert np.array_equal(logits, before)
    assert token == sample(logits, settings, generator(seed))


@given(LOGITS, st.integers(1, 50), SEEDS)
def test_never_beyond_the_k_most_likely(logits, k, seed):
    token = sample(logits, Sampling(1.0, top_k=k), generator(seed))
    before = np.count_nonzero(logits > logits[token]) + np.count_nonzero(logits[:token] == logits[token])
    assert before < k


@given(LOGITS, st.floats(1e-6, 0.999), SEEDS)
def test_never_beyond_the_nucleus(logits, p, seed):
    """What is likelier than the token drawn does not reach p by itself."""
    token, all_of_them = sample(logits, Sampling(1.0, top_p=p), generator(seed)), chances(logits, 1.0)
    assert all_of_them[logits > logits[token]].sum() < p + 1e-9


def test_the_nucleus_is_the_smallest_set_that_reaches_p():
    logits = np.log(np.array([0.1, 0.4, 0.2, 0.3]))
    for p, needed in ((0.39, {1}), (0.41, {1, 3}), (0.69, {1, 3}), (0.71, {1, 2, 3}), (0.95, {0, 1, 2, 3})):
        numbers = generator()
        assert {sample(logits, Sampling(1.0, top_p=p), numbers) for _ in range(400)} == needed


def test_k_comes_before_p():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1]))
    numbers = generator()
    drawn = {sample(logits, Sampling(1.0, top_k=2, top_p=0.6), numbers) for _ in range(400)}
    assert drawn == {0, 1}  # of the two, the first has 4/7, which is less than 0.6


@pytest.mark.parametrize("settings", [Sampling(1.0), Sampling(0.5), Sampling(2.0, top_k=3), Sampling(1.0, top_p=0.8)])
def test_as_often_as_the_probabilities_say(settings):
    logits = np.array([0.3, -1.0, 2.0, 0.9, 1.4, -3.0], np.float32)
    expected, draws, numbers = chances(logits, settings.temperature), 20_000, generator(5)
    likeliest = np.argsort(-expected)
    kept = settings.top_k or len(logits)
    if settings.top_p < 1:
        kept = 1 + np.searchsorted(np.cumsum(expected[likeliest]), settings.top_p)
    expected[likeliest[kept:]] = 0
    expected *= draws / expected.sum()
    counts = np.bincount([sample(logits, settings, numbers) for _ in range(draws)], minlength=len(logits))
    assert not counts[expected == 0].any()
    there = expected > 0
    statistic = ((counts - expected)[there] ** 2 / expected[there]).sum()
    assert statistic < 20.5  # the chi-square of five degrees of freedom is below that in 999 of 1000 cases


def test_one_number_for_each_token():
    one, other = generator(), generator()
    for _ in range(3):
        sample(np.zeros(5), Sampling(), one)
        other.random()
    sample(np.zeros(5), Sampling(0.0), one)
    assert one.random() == other.random()
