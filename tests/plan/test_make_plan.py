import random
import re
from dataclasses import replace

import pytest
from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.errors import PlanError
from mpipipe.plan import make_plan, pipeline_of
from mpipipe.plan.memory import shared_scratch, stage_bytes
from mpipipe.plan.problem import StageChoice
from mpipipe.plan.sharing import TASK_S
from mpipipe.plan.simulated import simulate_plan
from mpipipe.schedule import SCHEDULES, check

from .cases import alike, cluster, equal_layers, host, job, layers, problem_of, random_cluster

SETTINGS = [
    {},
    {"ranks": "auto"},
    {"ranks": 2},
    {"schedule": "gpipe"},
    {"schedule": "1f1b"},
    {"in_flight": 2},
    {"cuts": (1,)},
    {"schedule": "1f1b", "in_flight": 1, "ranks": "auto"},
]


def check_plan(plan, costs, hosts, asked):
    """What holds of every plan."""
    problem = problem_of(costs, hosts)
    held = [layer for stage in plan.stages for layer in range(stage.first, stage.last)]
    assert held == list(range(len(costs)))
    assert all(stage.first < stage.last for stage in plan.stages)
    assert plan.layers == tuple(cost.name for cost in costs)
    ranks = set(plan.lanes)
    assert sorted([*ranks, *plan.idle]) == list(range(len(hosts))) == list(range(plan.ranks))
    assert bool(plan.idle) == any(note.startswith("idle ranks: ") for note in plan.notes)
    assert (plan.batch, plan.micro_batch) == (asked.train.batch, asked.train.micro_batch)
    choices = [StageChoice(stage.rank, stage.first, stage.last, stage.recompute) for stage in plan.stages]
    for stage, choice, shared in zip(plan.stages, choices, shared_scratch(problem, choices), strict=True):
        check_stage(stage, problem, hosts[stage.rank], plan.micros)
        assert stage.bytes == stage_bytes(problem, choice, stage.in_flight, stage.gradients_in_flight) - shared
    for rank in (*ranks, *plan.idle):
        held = [plan.stages[s] for s in plan.stages_of(rank)]
        assert sum(stage.bytes for stage in held) <= hosts[rank].available_bytes
        assert plan.step_s >= plan.micros * sum(map(busy_seconds, held)) * (1 - 1e-9)
        assert (plan.stage_of(rank) is None) == (rank in plan.idle)
    assert plan.stage_of(len(hosts)) is None
    assert plan.bound_s <= plan.step_s
    assert simulate_plan(plan).end_s <= plan.step_s * (1 + 1e-9)
    assert plan.straight_bound_s >= plan.bound_s
    assert -1e-9 <= plan.bubble < 1
    check(SCHEDULES[plan.schedule].make(pipeline_of(plan, plan.batch)))


def check_stage(stage, problem, one, micros):
    """Its numbers are those of its layers on its host, and what it takes is what is foretold."""
    assert (stage.host, stage.threads, stage.available_bytes) == (one.name, one.threads, one.available_bytes)
    assert 1 <= stage.in_flight <= micros and 1 <= stage.gradients_in_flight <= micros
    tables = problem.forward_s, problem.input_s, problem.weight_s
    sums = [table[stage.rank, stage.first : stage.last].sum() for table in tables]
    assert (stage.forward_s, stage.input_s, stage.weight_s) == approx(sums)


def notes(plan):
    """But for the one that no layer was measured."""
    return [note for note in plan.notes if not note.startswith("no measured times for ")]


def busy_seconds(stage):
    return (stage.forward_s * (1 + stage.recompute) + stage.input_s + stage.weight_s) / stage.threads


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 5), st.integers(1, 9), st.sampled_from(SETTINGS))
@settings(max_examples=usual(18, 60), deadline=None)
def test_what_holds_of_every_plan(seed, count, ranks, micros, asked):
    costs, hosts = layers(random.Random(seed), count), random_cluster(seed, ranks).hosts
    settings_ = job(micros, **asked)
    plan = make_plan(costs, cluster(*hosts), settings_)
    check_plan(plan, costs, hosts, settings_)
    assert plan.schedule == asked.get("schedule", plan.schedule)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=usual(18, 60), deadline=None)
def test_where_memory_is_short_the_plan_fits_or_is_refused(seed, count, ranks, micros):
    costs = layers(random.Random(seed), count)
    whole = stage_bytes(problem_of(costs, [host(0, threads=2)]), StageChoice(0, 0, count), micros, 2)
    hosts, settings_ = random_cluster(seed, ranks, whole).hosts, job(micros)
    try:
        plan = make_plan(costs, cluster(*hosts), settings_)
    except PlanError as error:
        assert "is short by " in str(error)
    else:
        check_plan(plan, costs, hosts, settings_)


def test_no_stage_has_more_in_flight_than_the_one_before_it():
    """Threads of the last host would ask for more than the first may begin."""
    hosts = cluster(host(0, threads=1, matrix_flops=8e9), host(1, threads=8))
    plan = make_plan(equal_layers(8), hosts, job(12, schedule="1f1b", cuts=(4,)))
    limits = [stage.in_flight for stage in plan.stages]
    assert limits == sorted(limits, reverse=True)


def test_all_gives_every_rank_a_share():
    hosts = cluster(*(host(rank, matrix_flops=1e9 if rank else 1e5) for rank in range(4)))
    plan = make_plan(equal_layers(8), hosts, job())
    assert plan.idle == ()
    assert sorted(stage.rank for stage in plan.stages) == [0, 1, 2, 3]
    (note,) = notes(plan)
    assert note.startswith("3 of the 4 ranks would be ")
    assert note.endswith('% faster by this plan\'s reckoning: ranks = "auto"')


def test_auto_leaves_out_whoever_would_slow_the_pipeline():
    hosts = cluster(*(host(rank, matrix_flops=1e9 if rank else 1e5) for rank in range(4)))
    plan = make_plan(equal_layers(9), hosts, job(ranks="auto"))
    assert plan.idle == (0,)
    assert len(plan.lanes) == 3
    (note,) = notes(plan)
    assert re.fullmatch(r"idle ranks: 0; a share for it would make a step [\d,.]+% longer", note)


def test_all_says_nothing_where_all_are_of_use():
    plan = make_plan(equal_layers(8), alike(4), job(16))
    assert notes(plan) == []
    assert [(stage.first, stage.last) for stage in plan.stages] == [(0, 2), (2, 4), (4, 6), (6, 8)]


@pytest.mark.parametrize(("schedule", "examples"), [("1f1b", usual(12, 30)), ("auto", usual(4, 12))])
def test_auto_is_as_fast_as_any_number_of_ranks(schedule, examples):
    """But for the little that a plan with more ranks must win by."""

    @given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5), st.integers(1, 9))
    @settings(max_examples=examples, deadline=None)
    def check(seed, count, ranks, micros):
        costs, hosts = layers(random.Random(seed), count), random_cluster(seed, ranks)
        auto = make_plan(costs, hosts, job(micros, ranks="auto", schedule=schedule))
        for number in range(1, ranks + 1):
            other = make_plan(costs, hosts, job(micros, ranks=number, schedule=schedule))
            assert auto.step_s <= 1.006 * other.step_s

    check()


def test_a_number_takes_the_best_so_many_ranks():
    hosts = cluster(*(host(rank, matrix_flops=1e9 * (1 + rank)) for rank in range(5)))
    plan = make_plan(equal_layers(10), hosts, job(ranks=2))
    assert {stage.rank for stage in plan.stages} == {3, 4}
    assert notes(plan) == ["idle ranks: 0, 1, 2; the job asks for fewer ranks"]


def test_a_number_above_the_ranks_that_were_started():
    with pytest.raises(PlanError, match="plan.ranks: 5; needed: at most the 4 ranks that were started"):
        make_plan(equal_layers(9), alike(4), job(ranks=5))


def test_cuts_go_to_the_ranks_in_their_order():
    hosts = cluster(host(0, matrix_flops=1e6), host(1), host(2))
    plan = make_plan(equal_layers(9), hosts, job(cuts=(7, 8)))
    assert [(stage.rank, stage.first, stage.last) for stage in plan.stages] == [(0, 0, 7), (1, 7, 8), (2, 8, 9)]
    assert notes(plan) == []


def test_fewer_cuts_than_ranks_leave_some_idle():
    plan = make_plan(equal_layers(9), alike(4), job(cuts=(5,)))
    assert plan.idle == (2, 3)
    assert notes(plan) == ["idle ranks: 2, 3; plan.cuts makes 2 stages"]


def test_cuts_that_cannot_be():
    with pytest.raises(PlanError, match="plan.cuts: 9; needed: cuts below the number of layers, 9"):
        make_plan(equal_layers(9), alike(2), job(cuts=(9,)))
    with pytest.raises(PlanError, match="plan.cuts: 2 ranks were started; needed: 3 ranks; start more or cut less"):
        make_plan(equal_layers(9), alike(2), job(cuts=(3, 6)))


@pytest.mark.parametrize("ranks", ["all", "auto", 5])
def test_more_ranks_than_layers(ranks):
    """Micro-batches enough for every layer to be worth a rank."""
    plan = make_plan(equal_layers(3), alike(5), job(64, ranks=ranks))
    assert [(stage.first, stage.last) for stage in plan.stages] == [(0, 1), (1, 2), (2, 3)]
    assert plan.idle == (3, 4)
    assert notes(plan) == ["idle ranks: 3, 4; there are only 3 layers, and a rank needs at least one"]


@pytest.mark.parametrize("ranks", ["all", "auto"])
def test_what_cuts_leave_idle_is_not_said_to_be_slow_or_unasked_for(ranks):
    plan = make_plan(equal_layers(9), alike(3), job(cuts=(5,), ranks=ranks))
    (note,) = notes(plan)
    assert note.startswith("idle ranks: 2; ")
    assert "faster" not in note
    assert "cuts" in note


@given(
    st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 4), st.integers(1, 9), st.sampled_from(sorted(SCHEDULES))
)
@settings(max_examples=40, deadline=None)
def test_what_is_foretold_is_what_the_plan_itself_says(seed, count, ranks, micros, schedule):
    """Every schedule that the ranks will make from the plan takes the time that it was chosen for, but for the
    update, which is no part of the schedule."""
    costs = [replace(cost, weight_bytes=0) for cost in layers(random.Random(seed), count)]
    plan = make_plan(costs, random_cluster(seed, ranks), job(micros, schedule=schedule))
    assert simulate_plan(plan).end_s == approx(plan.step_s)
    made = SCHEDULES[plan.schedule].make(pipeline_of(plan, plan.batch))
    assert list(made.in_flight) == [stage.in_flight for stage in plan.stages]


def test_one_rank_does_it_all():
    plan = make_plan(equal_layers(4), alike(1), job(6))
    assert [(stage.rank, stage.first, stage.last) for stage in plan.stages] == [(0, 0, 4)]
    assert plan.bubble == approx(TASK_S / (0.1 * 4), rel=0.01)  # nothing but what tasks cost besides their work


def test_micro_batches_need_not_divide_the_batch():
    base = job()
    plan = make_plan(equal_layers(4), alike(2), replace(base, train=replace(base.train, batch=13, micro_batch=4)))
    assert plan.micros == 4
    assert max(stage.in_flight for stage in plan.stages) <= 4


@pytest.mark.parametrize("schedule", ["auto", "1f1b"])
@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_no_more_in_flight_than_the_job_allows(schedule, in_flight):
    for link_bytes in (400, 10**6):
        plan = make_plan(equal_layers(6, out=link_bytes), alike(3), job(16, schedule=schedule, in_flight=in_flight))
        assert max(stage.in_flight for stage in plan.stages) <= in_flight


def test_gpipe_keeps_the_whole_batch():
    plan = make_plan(equal_layers(6), alike(3), job(16, schedule="gpipe", in_flight=2))
    assert [stage.in_flight for stage in plan.stages] == [16, 16, 16]


def test_where_no_more_than_the_classic_limits_fit_1f1b_is_as_fast_as_it_can_be():
    costs = equal_layers(3, out=10_000)
    problem = problem_of(costs, [host(0)])
    room = max(stage_bytes(problem, StageChoice(0, s, s + 1), 3 - s, min(3 - s, 2)) for s in range(3))
    plan = make_plan(costs, alike(3, available_bytes=room), job(16, schedule="1f1b"))
    assert max(stage.in_flight for stage in plan.stages) == 3
    assert plan.step_s == approx(16 * 0.3 + 2 * 0.2, rel=0.01)


def test_slow_links_are_hidden_by_more_in_flight():
    """With room for it, 1F1B on links of a quarter of a stage's time is as fast as GPipe, which needs more memory."""
    costs = equal_layers(9, out=int(0.25 * 0.3 * 117e6))
    gpipe, other = (make_plan(costs, alike(9), job(36, schedule=name)) for name in ("gpipe", "1f1b"))
    assert other.step_s == approx(gpipe.step_s, rel=0.01)
    assert max(stage.in_flight for stage in other.stages) < 36


def test_the_step_of_a_pipeline_without_links_to_speak_of():
    """Ranks of one host: m t + (p - 1)(F + I), the latency of a message and the update besides."""
    ranks = cluster(*(host(rank, name="mini") for rank in range(3)))
    plan = make_plan(equal_layers(3), ranks, job(10, schedule="1f1b"))
    assert plan.step_s == approx(10 * 0.3 + 2 * 0.2, rel=0.01)
    assert plan.bubble == approx(1 - 30 / 34, abs=0.01)


def test_what_is_set_aside_is_not_planned_with():
    costs, asked = equal_layers(2), job(schedule="gpipe", recompute="never")
    need = make_plan(costs, alike(1), asked).stages[0].bytes
    plan = make_plan(costs, alike(1, available_bytes=need + 70), asked, {0: 70})
    assert plan.stages[0].available_bytes == plan.stages[0].bytes == need + 70
    with pytest.raises(PlanError, match="is short by 1 bytes"):
        make_plan(costs, alike(1, available_bytes=need + 70), asked, {0: 71})
    with pytest.raises(PlanError, match=r"0 are available; rank 0 sets aside \d"):
        make_plan(costs, alike(1, available_bytes=need), asked, {0: 10 * need})


def test_the_same_question_has_the_same_answer():
    costs, hosts = layers(random.Random(3), 8), random_cluster(3, 3)
    assert make_plan(costs, hosts, job()) == make_plan(costs, hosts, job())
