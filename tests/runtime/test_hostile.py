"""Slow ranks and messages that overtake each other: still the same bits, and no rank waits for ever."""

import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from mpipipe.runtime.messages import Tag

from .cases import DEEP, cases, make_case
from .harness import numbers, play, train
from .hostile import Fate, Sea, fates
from .straight import Straight, same_bits, straight


def sleepy(rank, seed=0, most_s=2e-3):
    """Makes every F, I and W of a rank take a random while longer."""

    def tamper(member):
        if member.crew.rank != rank or not member.stages:
            return
        random, lock = np.random.default_rng(seed), threading.Lock()

        def slowly(work, *arguments):
            with lock:
                wait_s = most_s * random.random()
            time.sleep(wait_s)
            work(*arguments)

        for name in ("forward", "grad_input", "grad_weight"):
            setattr(member.stages[0], name, partial(slowly, getattr(member.stages[0], name)))

    return tamper


@given(cases(), st.integers(0, 2**32), st.integers(0, 3))
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_any_run_in_a_hostile_world_has_the_same_bits(case, seed, slow):
    history = straight(case)
    assume(np.isfinite(history.numbers).all())
    outcome = play(case, train(case), link=Sea(fates(seed)).link, tamper=sleepy(slow, seed))
    assert numbers(outcome.value) == history.numbers
    same_bits(outcome.weights(), history.everything[-1])


def three_ranks(**more):
    """Rank 0 holds the middle stage of DEEP."""
    return make_case(DEEP, (4,), **{"cuts": (2, 4), "order": (1, 0, 2), "threads": 2, "stall_s": 3.0, **more})


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("late", list(Tag), ids=lambda tag: tag.name)
def test_one_kind_of_message_always_late(late, buffered):
    """Small messages may be buffered, so that rank 0 runs ahead as far as it ever can; or leave late, too.

    A norm later than the order for the next step was once taken as overruled by it, and the update left out.
    """
    case = three_ranks(clip_norm=0.05)
    history = straight(case, 3)

    def decide(tag, size):
        return Fate(looks=15 if tag == late else 0, buffered=buffered and size < 200)

    outcome = play(case, train(case, 3), link=Sea(lambda rank: decide).link, tamper=sleepy(late % 3))
    assert numbers(outcome.value) == history.numbers
    same_bits(outcome.weights(), history.everything[-1])


@pytest.mark.parametrize("late", [Tag.ACT, Tag.TARGET, Tag.OUT], ids=lambda tag: tag.name)
def test_nothing_is_overwritten_that_has_not_left(late):
    """Evaluating and predicting with room for one micro-batch only."""
    case = make_case(DEEP, (4,), cuts=(2, 4), in_flight=1, slots=1)

    def story(conductor):
        return *conductor.evaluate(np.arange(7), case.feed), conductor.predict(np.arange(7), case.feed)

    outcome = play(case, story, link=Sea(lambda rank: lambda tag, size: Fate(looks=15 * (tag == late))).link)
    loss, right, counted, outputs = Straight(case).look(np.arange(7))
    assert outcome.value[:3] == (loss, right, counted) and outcome.value[3].tobytes() == outputs.tobytes()


@pytest.mark.parametrize("order", [(1, 2), (0, 1), (1, 0)])
def test_a_report_may_come_between_any_two_looks(order):
    """Rank 0 looks at the last stage's report in two places; whichever sees it first, the wait for reports ends."""
    case = make_case(DEEP, (4,), cuts=(3,), order=order, ranks=3, stall_s=2.0)

    def decide(tag, size):
        return Fate(shows_after=1 if tag == Tag.REPORT else 0)

    outcome = play(case, train(case, 6), link=Sea(lambda rank: decide).link, tamper=sleepy(order[-1], most_s=10e-3))
    assert numbers(outcome.value) == straight(case, 6).numbers


def test_orders_wait_for_their_turn_on_a_slow_rank():
    """Save, train and stop may all have been ordered while a rank is at its update."""
    case = three_ranks(optimizer="adam")
    orders = []

    def tamper(member):
        sleepy(2)(member)
        if member.crew.rank == 2:
            obey = member.obey
            member.obey = lambda order: (orders.append(order.what.name), obey(order))[1]

    def story(conductor):
        train(case, 2)(conductor)
        conductor.evaluate(np.arange(9), case.feed)
        return train(case, 2)(conductor)

    play(case, story, link=Sea(lambda rank: lambda tag, size: Fate(buffered=True)).link, tamper=tamper)
    assert orders == ["TRAIN", "TRAIN", "EVALUATE", "EVALUATE", "TRAIN", "TRAIN", "STOP"]
