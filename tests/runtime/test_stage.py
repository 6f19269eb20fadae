"""A stage alone: its bytes are those foretold, its parts are all tiles, and it makes all its arrays at once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.enlist import only_evaluating
from mpipipe.layers import Scratch, Update, forward_only, layer_costs, leaves
from mpipipe.layers.optimizers import RUN
from mpipipe.layers.parts import PART_FLOPS, count_parts
from mpipipe.plan.memory import stage_bytes
from mpipipe.plan.problem import StageChoice
from mpipipe.plan.reckon import survey_ground
from mpipipe.resources import Cluster, Host
from mpipipe.runtime.crew import Crew, shares_of
from mpipipe.runtime.orders import Order, Report, What, pack_order, report_array, unpack_order, unpack_report
from mpipipe.runtime.share import Now
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import Stage

from .cases import DEEP, block, cases, linear, make_case
from .harness import play, train
from .texts import gpt, text_cases


def stages_of(case):
    """Every stage with its plan, in pipeline order."""
    crews = [Crew(rank, case.plan, case.model, case.job) for rank in case.plan.lanes]
    made = [pair for crew in crews for pair in zip(crew.stage_plans, map(Stage, shares_of(crew)), strict=True)]
    return sorted(made, key=lambda pair: pair[0].first)


def foretold(plan, costs, scratches=0):
    """What is foretold, with the scratch of so many workers."""
    problem = survey_ground(costs, Cluster((Host(0, plan.host, "", 0, 0, plan.threads, 1.0, 1.0),)), 1, 1, {}).problem
    choice = StageChoice(0, plan.first, plan.last, plan.recompute)
    scratch = (plan.threads - scratches) * max(cost.scratch_bytes for cost in costs[plan.first : plan.last])
    return stage_bytes(problem, choice, plan.in_flight, plan.gradients_in_flight) - scratch


def unused(plan, costs):
    """Room for gradients that is foretold, which a stage that never trains does not have."""
    mine = costs[plan.first : plan.last]
    again = sum(cost.saved_bytes - cost.loss_bytes for cost in mine) if plan.recompute else 0
    return plan.gradients_in_flight * (mine[0].input_bytes + again)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_bytes_are_those_foretold(case):
    """To the byte. What is foretold adds the workers' scratch, which is not the stage's."""
    costs = layer_costs(case.model, case.job.train)
    for plan, stage in stages_of(case):
        assert stage.bytes() == foretold(plan, costs)


@given(cases())
@settings(max_examples=30, deadline=None)
def test_bytes_of_stages_that_never_train(case):
    costs = forward_only(layer_costs(case.model, case.job.train))
    for plan, stage in stages_of(replace(case, job=only_evaluating(case.job))):
        assert stage.bytes() == foretold(plan, costs) - unused(plan, costs)


@given(text_cases(ties=False))
@settings(max_examples=40, deadline=None)
def test_bytes_of_text_models_are_those_foretold(case):
    """To the byte, but where one stage holds both copies of a tied weight: it needs no room for gradients to arrive."""
    costs, tied = layer_costs(case.model, case.job.train), case.model.tied
    lean, idle = forward_only(costs), replace(case, job=only_evaluating(case.job))
    for (plan, stage), (_, evaluates) in zip(stages_of(case), stages_of(idle), strict=True):
        both = tied is not None and plan.first == 0 and plan.last == len(costs)
        assert foretold(plan, costs) - stage.bytes() == (2 * costs[-1].weight_bytes if both else 0)
        assert foretold(plan, lean) - evaluates.bytes() == unused(plan, costs)


WIDE = [
    linear(256),
    {"kind": "layernorm"},
    block(linear(512), {"kind": "gelu"}, linear(256)),
    {"kind": "relu"},
    {"kind": "dropout", "rate": 0.1},
    linear(256),
    {"kind": "tanh"},
    linear(10),
]


@pytest.mark.parametrize(
    ("layers", "shape", "cuts"),
    [*((WIDE, (256,), cuts) for cuts in [(), (3,), (2, 5)]), *((gpt(64, 200), (32,), cuts) for cuts in [(2,), (3, 6)])],
)
def test_a_realistic_share_takes_what_is_foretold_within_a_few_percent(layers, shape, cuts):
    """Scratch included: it is measured on the one worker after two steps.

    A worker may take a little more than the largest layer's scratch: two runs of elements of an update, which is not
    foretold, and its blocks are as large as the largest wish for each, not for all at once.
    """
    case = make_case(layers, shape, cuts=cuts, in_flight=3, gradients=2, batch=256, micro_batch=64, count=300)
    scratches = {plan.rank: set() for plan in case.plan.stages}

    def tamper(member):
        def noting(make):
            def method(*arguments):
                scratches[member.crew.rank].add(arguments[-1])
                return make(*arguments)

            return method

        for name in ("forward", "grad_input", "grad_weight"):
            setattr(member.stages[0], name, noting(getattr(member.stages[0], name)))

    members = play(case, train(case, 2), tamper=tamper).members
    costs = layer_costs(case.model, case.job.train)
    for plan in case.plan.stages:
        scratch = sum(block.nbytes for each in scratches[plan.rank] for block in each._pool)
        taken = members[plan.rank].stages[0].bytes() + scratch
        expected = foretold(plan, costs, scratches=1)
        assert 0.95 * expected <= taken <= 1.03 * expected + 2 * 4 * RUN


def test_every_array_is_made_at_once_and_kept():
    """What a batch works on are views of arrays that stand from the start, in the slots of the micro-batch's number."""
    case = make_case(DEEP, (4,), in_flight=3, gradients=2)
    ((_, stage),) = stages_of(case)
    stage.begin(Now(7, 0))
    for micro in range(4):
        slot, gradient = stage.slot(micro), stage.gradient_slot(micro)
        assert {len(array) for array in (*slot.acts, *gradient.grads, slot.target)} == {1 if micro == 3 else 2}
        assert all(map(np.shares_memory, slot.acts, stage.slots.made[micro % 3].acts))
        assert all(map(np.shares_memory, gradient.grads, stage.gradient_slots.made[micro % 2].grads))
        assert stage.slot(micro) is slot and stage.gradient_slot(micro) is gradient


@given(cases())
@settings(max_examples=30, deadline=None)
def test_parts_are_all_tiles_in_order(case):
    """And as many as a plan reckons with."""
    costs = layer_costs(case.model, case.job.train)
    for plan, stage in stages_of(case):
        tiles = [
            (i, tile) for i, (layer, at) in enumerate(stage._each()) for tile in layer.tiles(at, stage.share.tile_rows)
        ]
        assert [item for part in stage.parts for item in part] == tiles
        assert all(stage.parts) and plan.last - plan.first == len(stage.layers)
        mine = costs[plan.first : plan.last]
        assert len(stage.parts) == count_parts([one.tiles for one in mine], [one.grad_weight.flops for one in mine])


def test_a_part_is_worth_a_task():
    """Small tiles go together, large ones stay alone."""
    case = make_case(
        [linear(2000), linear(30), linear(30), linear(3)], (1000,), batch=64, micro_batch=64, tile_rows=500
    )
    ((_, stage),) = stages_of(case)
    flops = [[2 * 64 * (stop - start) * stage.shapes[i + 1][0] for i, (start, stop) in part] for part in stage.parts]
    assert [len(part) for part in flops[:2]] == [1, 1]
    assert all(sum(part) >= PART_FLOPS and sum(part[:-1]) < PART_FLOPS for part in flops[:-1])
    assert sum(len(part) for part in flops) == len(flops[0]) + len(flops[1]) + 4 + 1 + 1


def test_a_stage_draws_what_the_whole_model_would():
    whole = stages_of(make_case(DEEP, (4,)))[0][1]
    for layer in range(6):
        whole.initialise(layer)
    for plan, stage in stages_of(make_case(DEEP, (4,), cuts=(1, 2, 4))):
        for layer in range(plan.first, plan.last):
            stage.initialise(layer)
            for path, array in leaves(stage.weights[layer - plan.first]):
                assert np.array_equal(array, whole.array(layer, path, ""))


# ---- small neighbours -------------------------------------------------------------------------------------------

whole_numbers = st.integers(0, 2**53)


@given(st.builds(Order, st.sampled_from(What), whole_numbers, whole_numbers, st.floats(0, 1), whole_numbers))
def test_an_order_arrives_as_it_was_given(order):
    array = np.zeros(5)
    pack_order(order, array)
    assert unpack_order(array) == order


def test_a_report_arrives_as_it_was_given():
    array = report_array(3)
    array[:] = (-1, 2.5, 7, 0.25, 0.125, 0.0625, 4096, 1, 2, 3)
    assert unpack_report(array) == Report(-1, 2.5, 7, 0.25, 0.125, 0.0625, 4096, (1.0, 2.0, 3.0))


def test_the_source_keeps_features_in_slots_and_targets_for_the_batch():
    source, got = Source(2, 7, 2, (3,), (), labels=True), []

    def feed(rows, x, t):
        got.append(rows.tolist())
        x[...] = rows[:, None]
        if t is not None:
            t[...] = rows

    source.begin(np.arange(10, 17), feed, wants_targets=True)
    for micro in range(4):
        source.load(micro, Scratch())
        assert source.x(micro)[:, 0].tolist() == got[-1] and len(got[-1]) == (1 if micro == 3 else 2)
    assert got == [[10, 11], [12, 13], [14, 15], [16]]
    assert np.shares_memory(source.x(1), source.x(3)) and not np.shares_memory(source.x(0), source.x(3))
    assert [source.t(micro).tolist() for micro in range(4)] == got
    assert source.bytes() == 2 * 2 * 3 * 4 + 7 * 8
    source.begin(np.arange(2), feed, wants_targets=False)
    source.load(0, Scratch())
    assert source.t(0).tolist() == [10, 11]


def test_running_statistics_that_decay_become_zero_and_never_subnormal():
    """As those of a channel that is always zero do."""
    case = make_case([linear(5), {"kind": "batchnorm"}, linear(3)], (4,))
    ((_, stage),) = stages_of(case)
    weights, gradients = (dict(leaves(tree[1])) for tree in (stage.weights, stage.gradients))
    update, scratch = Update(case.job.train, 1, 0.0, 1.0), Scratch()
    for variance, kept in ((1e-37, 1e-37), (1e-39, 0.0), (0.0, 0.0)):
        for gradient in gradients.values():
            gradient[...] = 0
        gradients["running_variance"][...] = variance
        for _, task in stage.update_tasks(update):
            task(scratch)
        assert weights["running_variance"].tolist() == [np.float32(kept)] * 5
