"""Numbers that are not finite end the run, and the error names step, micro-batch and the layer where they began."""

import math
import warnings
from itertools import combinations

import numpy as np
import pytest

from mpipipe.checkpoint import pieces
from mpipipe.errors import NonFiniteError
from mpipipe.runtime.orders import What

from .cases import block, linear, make_case
from .harness import play, train
from .hostile import Sea, fates
from .straight import Straight

LAYERS = [
    linear(5),
    {"kind": "layernorm"},
    {"kind": "leaky_relu"},
    block(linear(4), {"kind": "gelu"}, linear(5)),
    {"kind": "dropout", "rate": 0.1},
    linear(3),
]
"""Whatever is not finite in one of them is so at the end too."""

CUTS = [cuts for count in range(3) for cuts in combinations(range(1, 6), count)]


def drawn(case, change=None):
    """A reader of the weights that a new run would draw, changed by `change(layer, path, array)`."""
    fresh = Straight(case).everything()

    def read(piece):
        array = fresh[piece.place]
        if change is not None and not piece.state:
            change(piece.layer, piece.path, array)
        return array

    return read


def planted(layer, value):
    """Puts a value into every weight of a layer."""

    def change(number, path, array):
        if number == layer:
            array.flat[0] = value

    return change


def orders(stages):
    """Rank 0 in every place, and in none."""
    for place in range(stages):
        yield (*range(1, place + 1), 0, *range(place + 1, stages))
    yield tuple(range(1, stages + 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layer", [0, 1, 3, 5])
def test_the_first_layer_that_gave_it_is_named(layer, value):
    """For every cut into one, two or three stages, with rank 0 anywhere."""
    for index, cuts in enumerate(CUTS if np.isnan(value) else CUTS[::4]):
        options = list(orders(len(cuts) + 1))
        for order in options if index % 4 == 0 else [options[index % len(options)]]:
            case = make_case(LAYERS, (4,), cuts=cuts, order=order, ranks=4, threads=1 + index % 2)
            outcome = play(case, train(case), read=drawn(case, planted(layer, value)), hopeful=False)
            assert list(outcome.errors) == [0]
            with pytest.raises(NonFiniteError) as caught:
                raise outcome.errors[0]
            text = str(caught.value)
            assert text.startswith("step 1, micro-batch ") and "the loss is not finite" in text
            assert f"layer {case.model.names[layer]} is the first whose output is not" in text


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2), (1, 2, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_step_and_micro_batch_are_named(order, seed):
    """One bad sample of the third step, whatever is late."""
    case = make_case(LAYERS, (4,), cuts=(2, 4), order=order, ranks=4, in_flight=4, threads=2, count=40)
    case.features[17] = np.nan

    def story(conductor):
        for step in range(4):
            conductor.train(np.arange(7 * step, 7 * step + 7), case.feed, step, 0.01)

    outcome = play(case, story, link=Sea(fates(seed)).link, hopeful=False)
    assert list(outcome.errors) == [0]
    with pytest.raises(NonFiniteError, match=r"^step 3, micro-batch 1: the loss is not finite; layer 000_linear is"):
        raise outcome.errors[0]


def test_a_loss_that_alone_overflows():
    """All outputs are finite, their squares are not."""
    case = make_case([linear(3)], (4,), loss="mean_squared_error")
    read = drawn(case, lambda layer, path, array: array.fill(1e30))
    with pytest.raises(NonFiniteError, match=r"step 1, micro-batch \d: the loss .*; every layer's output is;"):
        play(case, train(case), read=read)


def overflowing(layer, path, array):
    """Outputs of 1e25 and 1e-20, then of 1e15, whose squares are finite. But the gradient of the second weights is
    1e40, and what goes down to the first ones is 1e45."""
    if path == "weight":
        array[...] = [[1e25, 1e-20]] if layer == 0 else [[1e-10], [1e30]]


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_gradient_that_overflows_while_the_loss_is_finite(clip_norm):
    layers = [linear(2), {"kind": "leaky_relu"}, linear(2), {"kind": "leaky_relu"}]
    # Both are not finite; the one nearest to the loss is named, for there it began.
    for cuts in [(), (1,), (2,), (3,), (1, 3), (1, 2, 3)]:
        for order in orders(len(cuts) + 1):
            case = make_case(
                layers, (4,), cuts=cuts, order=order, ranks=5, loss="mean_squared_error", clip_norm=clip_norm
            )
            case.features[...] = np.abs(case.features) + 1
            outcome = play(case, train(case), read=drawn(case, overflowing), hopeful=False)
            assert list(outcome.errors) == [0]
            with pytest.raises(NonFiniteError, match=r"^step 1: the gradient of layer 002_linear is not finite"):
                raise outcome.errors[0]


def test_evaluating_what_is_not_finite_is_no_error():
    case = make_case(LAYERS, (4,), cuts=(2, 4), order=(1, 0, 2))
    read = drawn(case, planted(3, np.nan))
    outcome = play(case, lambda conductor: conductor.evaluate(np.arange(20), case.feed), read=read)
    assert math.isnan(outcome.value[0])


def test_a_diverging_run_says_so_once_and_numpy_says_nothing():
    """Nobody wants a page of RuntimeWarnings from the workers before the error that names the layer."""
    case = make_case(LAYERS, (4,), cuts=(2,))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = play(case, train(case), read=drawn(case, planted(1, np.inf)), hopeful=False)
    assert isinstance(outcome.errors[0], NonFiniteError)
    assert [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)] == []


def test_ranks_are_overruled_only_to_diagnose():
    """The orders that a stage before the last one obeys."""
    case = make_case(LAYERS, (4,), cuts=(2, 4), order=(0, 1, 2), count=40)
    case.features[17] = np.nan
    obeyed = []

    def tamper(member):
        if member.crew.rank == 1:
            obey = member.obey
            member.obey = lambda order: (obeyed.append(order.what), obey(order))[1]

    def story(conductor):
        for step in range(3):
            conductor.train(np.arange(7 * step, 7 * step + 7), case.feed, step, 0.01)

    assert isinstance(play(case, story, tamper=tamper, hopeful=False).errors[0], NonFiniteError)
    assert obeyed == [What.TRAIN, What.TRAIN, What.TRAIN, What.DIAGNOSE]


def test_the_layers_of_these_tests_have_weights_where_they_are_planted():
    case = make_case(LAYERS, (4,))
    assert {piece.layer for piece in pieces(case.model, "sgd")} == {0, 1, 3, 5}
