"""Law 1: loss, norm, weights and optimizer state have the same bits for every cut, order of ranks, schedule, limits and
number of threads: those of one rank with one thread, and those of a loop over the layers without any pipeline."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings

from .cases import DEEP, alone, block, cases, linear, make_case
from .harness import numbers, play, some_batches, train
from .straight import same_bits, straight


def check_bits(case, **more):
    history = straight(case)
    outcome = play(case, train(case), **more)
    assert numbers(outcome.value) == history.numbers
    same_bits(outcome.weights(), history.everything[-1])


@given(cases())
@settings(max_examples=40, deadline=None)
def test_any_run_equals_one_rank_and_a_straight_loop(case):
    assume(np.isfinite(straight(case).numbers).all())
    check_bits(case)
    check_bits(alone(case))


@pytest.mark.parametrize("stages", range(1, 7))
def test_every_cut_of_a_deep_model(stages):
    """Rank 0 holds another stage in every cut, or none."""
    for index, cuts in enumerate(combinations(range(1, 6), stages - 1)):
        ranks = [*range(stages + 1)]
        order = tuple(ranks[index % (stages + 1) :] + ranks[: index % (stages + 1)])[:stages]
        check_bits(
            make_case(
                DEEP,
                (4,),
                cuts=cuts,
                order=order,
                ranks=stages + 1,
                schedule=("gpipe", "1f1b")[index % 2],
                in_flight=1 + index % 4,
                gradients=1 + index % 3,
                threads=1 + index % 2,
                clip_norm=0.05,
            )
        )


def test_stages_without_weights():
    """No gradient is wanted before the first weights, and a stage may have no W task at all."""
    layers = [{"kind": "flatten"}, {"kind": "relu"}, linear(5), {"kind": "tanh"}, {"kind": "dropout"}, linear(3)]
    for cuts in [(1, 2, 3, 4, 5), (1, 2), (2,), (3, 5), (1, 4)]:
        check_bits(make_case(layers, (2, 3), cuts=cuts, threads=2))


def test_an_inner_layer_of_the_first_block_gets_its_gradient():
    layers = [{"kind": "relu"}, block(linear(4), {"kind": "tanh"}, linear(4)), linear(2)]
    for cuts in [(1, 2), (1,), (2,)]:
        check_bits(make_case(layers, (4,), cuts=cuts))


def test_many_more_micro_batches_than_room():
    case = make_case(DEEP, (4,), cuts=(2, 4), order=(2, 0, 1), batch=40, micro_batch=1, count=53, threads=(1, 2, 3))
    check_bits(case)


def test_the_steps_of_these_tests_cross_an_epoch():
    case = make_case(DEEP, (4,))
    epochs = [(batch.epoch, len(batch.rows)) for batch in some_batches(case, 4)]
    assert epochs == [(0, 7), (0, 6), (1, 7), (1, 7)]
