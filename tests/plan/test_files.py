import json
import random

import pytest
from effort import usual
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.plan import Plan, StagePlan, make_plan
from mpipipe.records import from_plain, load_json, save_json, to_plain

from .cases import job, layers, random_cluster

NOTES = ("idle ranks: 2; fewer ranks are faster", 'a "quoted" word, ö')


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5), st.sampled_from(["all", "auto", 1]))
@settings(max_examples=usual(10, 40), deadline=None)
def test_a_plan_reads_back_to_the_last_bit(seed, count, ranks, asked):
    plan = make_plan(layers(random.Random(seed), count), random_cluster(seed, ranks), job(ranks=asked))
    assert from_plain(Plan, json.loads(json.dumps(to_plain(plan))), "plan") == plan


def written():
    stages = (
        StagePlan(3, "mini3", 0, 4, 3, 2, 2, 0.1 + 0.2, 1e-300, 0.0041, 312 << 20, 1 << 62),
        StagePlan(0, "mini0", 4, 5, 2, 1, 1, 0.0123, 0.02, 0.0021, 1 << 30, 1 << 34),
    )
    return Plan(tuple("abcde"), 4, 100, 32, "1f1b", stages, (1, 2), 0.0421, 0.182, NOTES)


def test_a_plan_file(tmp_path):
    path = tmp_path / "plan.json"
    save_json(written(), path)
    again = load_json(Plan, path)
    assert again == written()
    assert again.notes == NOTES
    assert isinstance(again.stages, tuple)


@pytest.mark.parametrize(("rank", "stage"), [(3, 0), (0, 1), (1, None), (2, None), (4, None)])
def test_the_stage_of_a_rank_in_a_plan_file(tmp_path, rank, stage):
    save_json(written(), tmp_path / "plan.json")
    assert load_json(Plan, tmp_path / "plan.json").stage_of(rank) == stage


@pytest.mark.parametrize(("batch", "micro_batch", "micros"), [(100, 32, 4), (96, 32, 3), (1, 1, 1), (7, 100, 1)])
def test_micro_batches_of_a_plan(batch, micro_batch, micros):
    values = {**to_plain(written()), "batch": batch, "micro_batch": micro_batch}
    assert from_plain(Plan, values, "plan").micros == micros
