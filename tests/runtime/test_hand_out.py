"""Handing out weights: what a checkpoint holds, or what every stage draws for itself; anything else is refused."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.checkpoint import pieces
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import MessageError, Tag
from mpipipe.runtime.weights import hand_out

from .cases import DEEP, cases, make_case
from .harness import enlist, play
from .hostile import Sea, fates
from .straight import same_bits, straight


def nothing(conductor):
    """A story without a step."""


def stored(case, seed=5):
    """A reader of random arrays, and what it reads, by place."""
    random = np.random.default_rng(seed)
    every = pieces(case.model, case.job.train.optimizer)
    arrays = {piece.place: random.standard_normal(piece.shape, np.float32) for piece in every}
    return lambda piece: arrays[piece.place], arrays


@given(cases(), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_every_stage_gets_its_pieces(case, seed):
    read, arrays = stored(case)
    same_bits(play(case, nothing, read=read, link=Sea(fates(seed)).link).weights(), arrays)


@given(cases(), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_empty_messages_let_every_stage_draw_its_own(case, seed):
    drawn = play(case, nothing, link=Sea(fates(seed)).link).weights()
    same_bits(drawn, straight(case, 0).everything[0])


@pytest.mark.parametrize("change", [np.asfortranarray, lambda array: array.astype(np.float64)])
def test_other_layouts_and_types_are_turned_into_ours(change):
    case = make_case(DEEP, (4,), cuts=(3,))
    read, arrays = stored(case)
    same_bits(play(case, nothing, read=lambda piece: change(read(piece))).weights(), arrays)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda array: array[:-1],
        lambda array: np.concatenate([array, array]),
        lambda array: array[:0],
        lambda array: array.reshape(1, *array.shape),
    ],
    ids=["short", "long", "empty", "reshaped"],
)
def test_a_piece_of_the_wrong_shape_is_refused_before_it_is_sent(order, spoil):
    case = make_case(DEEP, (4,), cuts=(3,), order=order, ranks=3)
    read, _ = stored(case)
    bad = "/layers/002_residual/0_linear/weight"

    def read_badly(piece):
        return spoil(read(piece)) if piece.place == bad else read(piece)

    outcome = play(case, nothing, read=read_badly, hopeful=False)
    assert isinstance(outcome.errors[0], MessageError)
    assert bad in str(outcome.errors[0])


def test_a_piece_that_comes_short_is_refused():
    """Should rank 0 send it all the same."""
    case, mailbox = make_case(DEEP, (4,), cuts=(3,)), Mailbox()
    member = enlist(case, 1, LocalTransport(mailbox, 1))
    first = next(i for i, piece in enumerate(pieces(case.model, "adamw")) if piece.layer == 5)
    LocalTransport(mailbox, 0).send(np.zeros(2, np.float32), 1, Tag.PIECE.of(first))
    with pytest.raises(MessageError, match=r"/layers/005_linear/weight: 8 bytes came from rank 0; needed: 72, or none"):
        hand_out(member, None)
    member.work.close()


def test_rank_0_holds_one_piece_at_a_time():
    case = make_case(DEEP, (4,), cuts=(3,), order=(1, 2))
    read, _ = stored(case)
    before, alive = [], []

    def reading(piece):
        alive.append(sum(array() is not None for array in before))
        array = read(piece).copy()
        before.append(weakref.ref(array))
        return array

    play(case, nothing, read=reading)
    assert len(alive) > 10 and set(alive) == {0}
