"""Several stages on a rank, and stages that recompute: the placements that schedules use, and what else a rank does."""

from itertools import combinations, product
from operator import getitem

import numpy as np
import pytest
from effort import usual

from mpipipe.errors import NonFiniteError
from mpipipe.layers import Scratch
from mpipipe.runtime.crew import Crew, shares_of
from mpipipe.runtime.member import ActionError
from mpipipe.runtime.orders import Report
from mpipipe.runtime.result import layer_squares
from mpipipe.runtime.share import Now
from mpipipe.runtime.stage import Stage

from .book import Book, train_and_save
from .cases import DEEP, fitting, linear, make_case
from .harness import numbers, play, train
from .hostile import Sea, fates
from .straight import Straight, same_bits, straight
from .test_forward import check_looks, look
from .test_non_finite import LAYERS, drawn, planted
from .test_texts import check_bits
from .texts import gpt

PLACEMENTS = {
    "zb-v": (0, 1, 2, 2, 1, 0),
    "zb-v turned": (1, 2, 0, 0, 2, 1),
    "interleaved": (0, 1, 2, 0, 1, 2),
    "thrice": (1, 0, 1, 0, 1, 0),
    "alone": (0,) * 6,
    "idle": (1, 2, 1, 2, 1, 2),
}
SCHEDULED = [(name, order) for order in PLACEMENTS.values() for name in ("shuffled", *fitting(order))]
RECOMPUTE = {"kept": False, "again": True, "mixed": (True, False, True, False, False, True)}
ROOMS = {"little": {"in_flight": 1}, "more": {"in_flight": 4, "gradients": 2, "threads": 2, "clip_norm": 0.05}}
CUTS = (1, 2, 3, 4, 5)


def ways():
    """Every schedule with every way to recompute in every room; by default half of them, with each way and each room
    for every schedule."""
    for indices in product(range(len(SCHEDULED)), range(len(RECOMPUTE)), range(len(ROOMS))):
        if sum(indices) % usual(2, 1) == 0:
            (schedule, order), recompute, room = map(getitem, (SCHEDULED, [*RECOMPUTE], [*ROOMS]), indices)
            yield schedule, order, recompute, room


@pytest.mark.parametrize(("schedule", "order", "recompute", "room"), [*ways()])
def test_every_placement_has_the_same_bits(schedule, order, recompute, room):
    recompute, room = RECOMPUTE[recompute], ROOMS[room]
    layers = [*DEEP[:3], {"kind": "batchnorm"}, *DEEP[4:]]
    case = make_case(layers, (4,), cuts=CUTS, order=order, ranks=3, schedule=schedule, recompute=recompute, **room)
    check_bits(case, link=Sea(fates(len(order))).link)


@pytest.mark.parametrize("order", PLACEMENTS.values(), ids=PLACEMENTS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_both_copies_of_a_tied_weight_on_one_rank(order, optimizer):
    room = {"in_flight": 3, "threads": 2, "recompute": RECOMPUTE["mixed"], "clip_norm": 0.05}
    case = make_case(gpt(), (5,), cuts=CUTS, order=order, ranks=3, schedule="shuffled", optimizer=optimizer, **room)
    check_bits(case, link=Sea(fates(3)).link)


@pytest.mark.parametrize("order", PLACEMENTS.values(), ids=PLACEMENTS)
def test_forwards_and_checkpoints_of_chunks(order):
    case = make_case(DEEP, (4,), cuts=CUTS, order=order, ranks=3, schedule="shuffled", recompute=RECOMPUTE["mixed"])
    check_looks(play(case, lambda conductor: look(conductor, case, 20)).value, Straight(case), 20)
    book = Book()
    outcome = play(case, train_and_save(case, {1: book}))
    assert numbers(outcome.value) == straight(case).numbers
    same_bits(book.pages, straight(case).everything[2])


def test_what_a_step_gives_has_one_entry_for_each_rank_with_stages():
    case = make_case(DEEP, (4,), cuts=CUTS, order=(2, 1, 1, 2, 1, 2), ranks=4, schedule="shuffled", threads=2)
    for result in play(case, train(case)).value:
        assert [rank for rank, _ in result.busy] == [1, 2] and len(result.peak_bytes) == 2
        assert 0 <= result.bubble < 1 and all(0 < share <= 1 for _, share in result.busy)


@pytest.mark.parametrize("recompute", RECOMPUTE.values(), ids=RECOMPUTE)
@pytest.mark.parametrize("order", [(0, 1, 0), (1, 0, 1), (1, 2, 1), (0, 0, 0)])
def test_the_first_layer_that_is_not_finite_is_named(order, recompute):
    """Also where nothing of it was kept."""
    again = recompute[:3] if isinstance(recompute, tuple) else recompute
    for layer, cuts in zip((0, 1, 3, 5), combinations(range(1, 6), 2), strict=False):
        case = make_case(LAYERS, (4,), cuts=cuts, order=order, ranks=3, schedule="shuffled", recompute=again)
        outcome = play(case, train(case), read=drawn(case, planted(layer, np.nan)), hopeful=False)
        with pytest.raises(NonFiniteError, match=f"layer {case.model.names[layer]} is the first whose output is not"):
            raise outcome.errors[0]


def test_squares_are_put_back_into_the_order_of_the_layers():
    plan = make_case(DEEP, (4,), cuts=(1, 3, 4), order=(1, 0, 2, 1)).plan
    held = {1: (0.0, 4.0, 5.0), 0: (1.0, 2.0), 2: (3.0,)}
    reports = [Report(-1, 0, 0, 0, 0, 0, 0, held[rank]) for rank in plan.lanes]
    assert layer_squares(reports, plan) == [0, 1, 2, 3, 4, 5]


def test_an_output_on_its_way_is_left_alone_when_it_is_worked_out_again():
    case = make_case(DEEP, (4,), cuts=(3,), recompute=True)
    stage = Stage(shares_of(Crew(0, case.plan, case.model, case.job))[0])
    for layer in range(3):
        stage.initialise(layer)
    stage.begin(Now(2, 0))
    stage.slot(0).acts[0][...] = case.features[:2]
    stage.forward(0, Scratch())
    sent = stage.slot(0).acts[-1].copy()
    stage.slot(0).acts[-1].fill(np.nan)
    stage.gradient_slot(0).grads[-1].fill(1)
    stage.grad_input(0, Scratch())
    assert np.isnan(stage.slot(0).acts[-1]).all()
    assert np.array_equal(stage.gradient_slot(0).area.outputs[-1], sent)


def test_an_error_names_the_stage_and_the_action_of_a_chunk():
    case = make_case(DEEP, (4,), cuts=(2, 4), order=(1, 0, 1), schedule="shuffled", threads=2)

    def tamper(member):
        def raising(micro, scratch):
            raise ZeroDivisionError("on purpose")

        if member.crew.rank == 1:
            member.stages[1].grad_input = raising

    error = play(case, train(case), tamper=tamper, hopeful=False).errors[1]
    assert isinstance(error, ActionError) and str(error) == "stage 2, action I0.1"


def test_recomputing_takes_less_memory_where_much_is_in_flight():
    layers = [linear(64), *[{"kind": "gelu"}, linear(64)] * 6]
    taken = {}
    for again in (False, True):
        case = make_case(layers, (64,), in_flight=16, recompute=again, batch=64, micro_batch=4)
        (member,) = play(case, lambda conductor: None).members.values()
        stage = member.stages[0]
        taken[again] = stage.slots.bytes() + stage.gradient_slots.bytes() + stage.areas.bytes()
    assert taken[True] < 0.35 * taken[False]


def test_each_forward_is_worked_out_once_more_and_no_oftener():
    """With the same random draws."""
    case = make_case(DEEP, (4,), recompute=True, in_flight=3, threads=2)
    done = []

    def tamper(member):
        stage = member.stages[0]
        forward = stage._forward

        def noting(micro, slot, scratch):
            done.append(micro)
            forward(micro, slot, scratch)

        stage._forward = noting

    assert numbers(play(case, train(case, 2), tamper=tamper).value) == straight(case, 2).numbers
    assert sorted(done) == sorted([*range(4), *range(3)] * 2)
