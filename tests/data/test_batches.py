"""Batches: every sample once an epoch, remainders kept, any place to resume from."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.data import batches, order, steps_per_epoch

counts, sizes, seeds = st.integers(1, 60), st.integers(1, 80), st.integers(0, 2**40)


def plain(some):
    return [(batch.epoch, batch.offset, batch.rows.tolist()) for batch in some]


@given(counts, sizes, seeds)
def test_each_epoch_has_every_sample_once_remainder_included(count, batch, seed):
    steps = steps_per_epoch(count, batch)
    stream = batches(count, batch, seed)
    for epoch in range(3):
        some = list(itertools.islice(stream, steps))
        assert {one.epoch for one in some} == {epoch}
        assert [one.offset for one in some] == list(range(0, count, batch))
        assert np.array_equal(np.concatenate([one.rows for one in some]), order(count, seed, epoch))
        assert [len(one.rows) for one in some[:-1]] == [batch] * (steps - 1)
    assert sorted(order(count, seed, 2)) == list(range(count)) and order(count, seed, 0).dtype == np.int64


@given(counts, sizes, seeds, st.integers(0, 20))
def test_resuming_continues_the_uninterrupted_stream(count, batch, seed, done):
    whole = plain(itertools.islice(batches(count, batch, seed), done + 5))
    epoch, offset, _ = whole[done]
    assert plain(itertools.islice(batches(count, batch, seed, epoch, offset), 5)) == whole[done:]


@given(counts, sizes, sizes, seeds)
def test_another_batch_size_goes_on_from_the_same_sample(count, before, after, seed):
    first = next(batches(count, before, seed))
    rest = itertools.takewhile(lambda one: one.epoch == 0, batches(count, after, seed, 0, len(first.rows)))
    rows = np.concatenate([first.rows, *(one.rows for one in rest)])
    assert np.array_equal(rows, order(count, seed, 0))


def test_the_order_depends_on_seed_and_epoch():
    orders = [order(100, seed, epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(one) for one in orders}) == 9
    assert order(100, 1, 1).tolist() == orders[4]


def test_an_offset_at_the_end_begins_the_next_epoch():
    assert plain(itertools.islice(batches(7, 3, 1, 4, 7), 2)) == plain(itertools.islice(batches(7, 3, 1, 5), 2))
