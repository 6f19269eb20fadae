"""Tied weights, ignored targets and weights that follow the data: the same bits however the model is cut."""

import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from mpipipe.checkpoint import pieces
from mpipipe.errors import NonFiniteError
from mpipipe.layers import KINDS
from mpipipe.runtime.messages import Tag

from .book import Book, train_and_save
from .cases import alone, block, linear, make_case
from .harness import numbers, play, some_batches, train
from .hostile import Fate, Sea, fates
from .straight import Straight, same_bits, straight
from .texts import Following, Silent, gpt, text_cases


def copies_agree(case, found):
    """Both copies of a tied weight, and of its state, have the same bits."""
    names, tied = case.model.names, case.model.tied
    if tied is None:
        return
    first, last = (names[layer] for layer in tied)
    for place, array in found.items():
        if f"/{last}/" in place:
            assert array.tobytes() == found[place.replace(last, first)].tobytes(), place


def check_bits(case, **more):
    history = straight(case)
    outcome = play(case, train(case), **more)
    assert numbers(outcome.value) == history.numbers
    same_bits(outcome.weights(), history.everything[-1])
    copies_agree(case, outcome.weights())
    return outcome


@given(text_cases(ties=False))
@settings(max_examples=40, deadline=None)
def test_any_text_model_equals_one_rank_and_a_straight_loop(case):
    assume(np.isfinite(straight(case).numbers).all())
    check_bits(case)
    check_bits(alone(case))


@pytest.mark.parametrize("stages", [1, 2, 3, 7])
def test_every_cut_of_a_tied_gpt(stages):
    """Both copies on one stage, on neighbours, far apart; rank 0 with the first, the last, another or none."""
    for index, cuts in enumerate(combinations(range(1, 7), stages - 1)):
        ranks = [*range(stages + 1)]
        order = tuple(ranks[index % (stages + 1) :] + ranks[: index % (stages + 1)])[:stages]
        kinds = {"schedule": ("gpipe", "1f1b")[index % 2], "optimizer": ("adamw", "sgd")[index % 2]}
        plan = {"cuts": cuts, "order": order, "ranks": stages + 1, "threads": 1 + index % 2, "in_flight": 1 + index % 4}
        check_bits(make_case(gpt(), (5,), **plan, **kinds, clip_norm=(0.05, 0.0)[index % 2]))


@given(text_cases(), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_a_tied_pair_in_a_hostile_world_has_the_same_bits(case, seed):
    assume(np.isfinite(straight(case).numbers).all())
    check_bits(case, link=Sea(fates(seed)).link)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)])
@pytest.mark.parametrize("late", [Tag.TIED, Tag.NORM, Tag.REPORT, Tag.ORDER], ids=lambda tag: tag.name)
def test_a_tied_gradient_may_come_late(late, order, buffered):
    case = make_case(gpt(), (3,), cuts=(3,), order=order, ranks=3, clip_norm=0.05, stall_s=3.0)

    def decide(tag, size):
        return Fate(looks=15 if tag == late else 0, buffered=buffered and size < 200)

    check_bits(case, link=Sea(lambda rank: decide).link)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2), (1, 2, 3)])
def test_a_loss_that_is_not_finite_ends_the_wait_for_a_tied_gradient(order):
    """The first stage already waits for the last one's gradient, which never comes."""
    case = make_case(gpt(), (3,), cuts=(2, 5), order=order, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(NonFiniteError, match="step [23], .*is not"):
        play(case, train(case))


# ---- ignored targets --------------------------------------------------------------------------------------------


def as_kind(kind, case):
    return kind(case.job, case.shape, case.plan, case.count, case.slots, case.part_flops)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_batch_whose_targets_are_all_ignored_changes_nothing_but_by_decay(optimizer, clip_norm):
    case = make_case(gpt(), (3,), cuts=(2, 5), optimizer=optimizer, clip_norm=clip_norm, weight_decay=0.0)
    case = as_kind(Silent, case)
    before = straight(case, 0).everything[0]
    outcome = play(case, train(case, 2))
    assert numbers(outcome.value) == [(0.0, 0.0, 0.0)] * 2
    same_bits(outcome.weights(), before)
    evaluated = play(case, lambda conductor: conductor.evaluate(np.arange(9), case.feed)).value
    assert evaluated == (0.0, 0, 0)


def test_the_target_of_a_single_place_may_be_ignored_too():
    """Every rank then waits for the number of those that count, though a sample has but one."""
    case = make_case(gpt(), (1,), cuts=(2, 5), order=(1, 0, 2), optimizer="sgd", count=28)
    assert case.model.targets == 1 and (case.targets < 0).any()
    check_bits(case)


def test_only_targets_that_count_are_averaged():
    """Samples without any leave a batch's loss and norm as they are without them."""

    class Half(Silent):
        silent = 4

    plan = {"cuts": (2, 5), "batch": 8, "micro_batch": 4, "count": 8}
    rows = np.arange(8)
    case = as_kind(Half, make_case(gpt(), (3,), **plan))

    def story(taken, feed):
        return lambda conductor: conductor.train(taken, feed, 0, 0.01)

    both = play(case, story(rows, case.feed)).value
    counting = play(case, story(rows[4:], case.feed)).value
    assert both.loss == pytest.approx(counting.loss, rel=1e-6) and both.norm == pytest.approx(counting.norm, rel=1e-5)
    assert both.accuracy == counting.accuracy


@given(text_cases(ties=False))
@settings(max_examples=20, deadline=None)
def test_evaluating_counts_the_targets_that_are_not_ignored(case):
    rows = np.arange(case.count)
    found = play(case, lambda conductor: conductor.evaluate(rows, case.feed)).value
    assert found == Straight(case).look(rows)[:3]
    assert found[2] == np.sum(case.targets >= 0)
    assert math.isfinite(found[0])


# ---- saving -----------------------------------------------------------------------------------------------------


def resumed(case, pages, from_step, steps):
    """Train `steps` steps in all, the first of them already in `pages`."""

    def story(conductor):
        batches = list(enumerate(some_batches(case, steps)))[from_step:]
        return [conductor.train(one.rows, case.feed, step, 0.05 / (step + 1)) for step, one in batches]

    return play(case, story, read=lambda piece: pages[piece.place])


@given(text_cases(), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_saved_and_resumed_tied_weights_are_those_of_an_uninterrupted_run(case, seed):
    history, book = straight(case), Book()
    assume(np.isfinite(history.numbers).all())
    play(case, train_and_save(case, {1: book}), link=Sea(fates(seed)).link)
    same_bits(book.pages, history.everything[2])
    copies_agree(case, book.pages)
    for again in (case, alone(case)):
        outcome = resumed(again, book.pages, 2, 4)
        assert numbers(outcome.value) == history.numbers[2:]
        same_bits(outcome.weights(), history.everything[-1])


# ---- weights that follow the data -------------------------------------------------------------------------------

FOLLOWING = [linear(4), {"kind": "following"}, block({"kind": "following"}, linear(4)), linear(3)]


@pytest.fixture
def following(monkeypatch):
    monkeypatch.setitem(KINDS, "following", Following)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_weights_that_follow_the_data_are_not_trained(following, optimizer, clip_norm):
    """They take what W left, whole: no rate, no decay, no clipping; and the norm knows nothing of them."""
    for cuts in [(), (1,), (2,), (1, 2, 3)]:
        kinds = {"optimizer": optimizer, "clip_norm": clip_norm, "weight_decay": 0.1}
        case = make_case(FOLLOWING, (3,), cuts=cuts, threads=2, **kinds)
        outcome = check_bits(case)
        placed = [piece for piece in pieces(case.model, optimizer) if "running_" in piece.path]
        assert [(piece.layer, piece.state) for piece in placed] == [(1, ""), (2, "")]
        assert all(np.abs(outcome.weights()[piece.place]).max() > 0 for piece in placed)


def test_weights_that_follow_the_data_are_saved_and_resumed(following):
    case, book = make_case(FOLLOWING, (3,), cuts=(1, 2), optimizer="adam"), Book()
    history = straight(case)
    play(case, train_and_save(case, {1: book}))
    same_bits(book.pages, history.everything[2])
    outcome = resumed(alone(case), book.pages, 2, 4)
    same_bits(outcome.weights(), history.everything[-1])


def test_evaluating_leaves_what_follows_the_data_alone(following):
    case = make_case(FOLLOWING, (3,), cuts=(2,))

    def story(conductor):
        results = train(case, 1)(conductor)
        conductor.evaluate(np.arange(20), case.feed)
        return results

    same_bits(play(case, story).weights(), straight(case, 1).everything[1])


# ---- memory -----------------------------------------------------------------------------------------------------


def test_steps_of_a_tied_gpt_after_the_first_allocate_nothing_large():
    """The tied weight is 512 KiB, a micro-batch of activations 256 KiB; of all three ranks nothing of that size."""
    sizes = {"batch": 32, "micro_batch": 8, "count": 32, "in_flight": 4, "gradients": 2}
    case = make_case(gpt(128, 1000), (64,), cuts=(1, 4), clip_norm=1.0, tile_rows=100, **sizes)
    rows = np.arange(32)
    case.features, case.targets  # noqa: B018  (they are made when first asked for)

    def feed(rows, x, t):
        np.take(case.features, rows, axis=0, out=x, mode="clip")
        np.take(case.targets, rows, axis=0, out=t, mode="clip")

    def story(conductor):
        for step in range(2):
            conductor.train(rows, feed, step, 0.01)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for step in range(2, 5):
                conductor.train(rows, feed, step, 0.01)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    assert play(case, story).value < 256 * 1024
