"""Layers that move to other ranks between two steps: the same bits as if nothing had moved."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpipipe.checkpoint import pieces

from .cases import DEEP, cases, make_case, places
from .harness import numbers, play, train
from .hostile import Sea, fates
from .straight import same_bits, straight


def all_weights(outcome, plan):
    case = outcome.case
    return {
        piece.place: outcome.members[plan.rank_of(piece.layer)]
        .stage_with(piece.layer)
        .array(piece.layer, piece.path, piece.state)
        .copy()
        for piece in pieces(case.model, case.job.train.optimizer)
    }


@given(cases(most_ranks=3), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_moving_changes_no_bit(case, data):
    """Between any two plans: cuts, ranks, schedules, limits, threads and recomputation all change in mid-training."""
    job = replace(case.job, train=replace(case.job.train, learning_rate=0.001))
    how = data.draw(places(len(case.model.layers), 3))
    ranks = max(case.plan.ranks, how.pop("ranks"), max(how["order"]) + 1)
    layers, settings_ = list(job.model.layers), vars(job.train)
    other = make_case(layers, case.shape, ranks=ranks, loss=job.model.loss, count=case.count, **how, **settings_)
    case = replace(case, job=job, plan=replace(case.plan, ranks=ranks))

    def after(conductor, step):
        if step < 2:
            conductor.move(case.plan if step else other.plan)

    outcome = play(case, train(case, after=after), link=Sea(fates(ranks)).link)
    expected = straight(case)
    assert numbers(outcome.value) == expected.numbers
    same_bits(all_weights(outcome, case.plan), expected.everything[-1])


def test_a_checkpoint_under_way_is_finished_before_layers_move(tmp_path):
    """And arrays of layers that stay are kept where they are."""
    case = make_case(DEEP, (4,), cuts=(2, 4), order=(0, 1, 2))
    new = make_case(DEEP, (4,), cuts=(1, 4), order=(0, 1, 2)).plan
    kept = {}

    def after(conductor, step):
        if step == 0:
            kept["before"] = conductor.member.stages[0].weights[0]
            conductor.move(new)
            kept["after"] = conductor.member.stages[0].weights[0]

    play(case, train(case, steps=2, after=after))
    assert kept["before"] is kept["after"]
