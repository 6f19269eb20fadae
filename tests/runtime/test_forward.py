"""Evaluating and predicting through the pipeline: the bits of a straight forward pass, before, between and after steps,
and on stages that never train."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.enlist import only_evaluating
from mpipipe.layers import leaves

from .cases import DEEP, cases, make_case
from .harness import BLAS, numbers, play, some_batches, train
from .hostile import Sea, fates
from .straight import Straight, straight


def look(conductor, case, count):
    """Evaluate and predict the first `count` rows, in batches."""
    rows, batch = np.arange(count), case.plan.batch
    outputs = [conductor.predict(rows[at : at + batch], case.feed).copy() for at in range(0, count, batch)]
    return *conductor.evaluate(rows, case.feed), np.concatenate(outputs)


def check_looks(found, model, count):
    with np.errstate(all="ignore"), BLAS.limit(limits=1):
        loss, right, counted, outputs = model.look(np.arange(count))
    assert np.array_equal(found[0], loss, equal_nan=True) and found[1:3] == (right, counted)
    assert found[3].dtype == outputs.dtype and found[3].tobytes() == outputs.tobytes()


@given(cases(), st.integers(0, 2**32), st.data())
@settings(max_examples=25, deadline=None)
def test_any_stages_give_the_bits_of_a_straight_pass(case, seed, data):
    """Stages that never train."""
    count = data.draw(st.integers(1, case.count))
    case = replace(case, job=only_evaluating(case.job))
    found = play(case, lambda conductor: look(conductor, case, count), link=Sea(fates(seed)).link).value
    check_looks(found, Straight(case), count)


@given(cases())
@settings(max_examples=15, deadline=None)
def test_looking_between_steps_gives_the_bits_of_then_and_changes_none(case):
    count, looks = case.count, []

    def story(conductor):
        looks.append(look(conductor, case, count))
        return train(case, 3, lambda conductor, step: looks.append(look(conductor, case, count)))(conductor)

    history = straight(case, 3)
    if not np.isfinite(history.numbers).all():
        return
    assert numbers(play(case, story).value) == history.numbers
    model = Straight(case)
    check_looks(looks[0], model, count)
    for step, batch in enumerate(some_batches(case, 3)):
        with BLAS.limit(limits=1):
            model.train(batch.rows, step, case.job.train.learning_rate / (step + 1))
        check_looks(looks[step + 1], model, count)


@pytest.mark.parametrize("count", [1, 2, 6, 7, 8, 20])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 2, 3)])
def test_sizes_that_divide_nothing(order, count):
    case = make_case(DEEP, (4,), cuts=(1, 4), order=order, ranks=4, in_flight=1, slots=1)
    check_looks(play(case, lambda conductor: look(conductor, case, count)).value, Straight(case), count)


def test_stages_that_never_train_have_no_gradients_and_no_state():
    case = make_case(DEEP, (4,), cuts=(2, 4))
    case = replace(case, job=only_evaluating(case.job))
    for member in play(case, lambda conductor: look(conductor, case, 20)).members.values():
        stage = member.stages[0]
        assert not stage.gradient_slots and not any(stage.gradients)
        assert not [array for state in stage.state for tree in state.values() for _, array in leaves(tree)]


def test_predicting_asks_for_no_targets_and_measures_no_loss():
    case, asked, measured = make_case(DEEP, (4,), cuts=(2,)), [], []

    def feed(rows, x, t):
        asked.append(t is not None)
        case.feed(rows, x, t)

    def tamper(member):
        measure = member.stages[0].measure_loss
        member.stages[0].measure_loss = lambda micro, scratch: (measured.append(asked[-1]), measure(micro, scratch))

    def story(conductor):
        conductor.predict(np.arange(7), feed)
        conductor.evaluate(np.arange(7), feed)

    play(case, story, tamper=tamper)
    assert asked == [False] * 4 + [True] * 4 and measured == [True] * 4
