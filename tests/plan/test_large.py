"""Many layers on many unlike hosts are planned at all; how long that takes says by_clock.sh."""

import random

import pytest

from mpipipe.plan import make_plan

from .cases import job, layers, random_cluster


@pytest.mark.parametrize("ranks", ["all", "auto"])
def test_nine_unlike_hosts_and_a_hundred_layers(ranks):
    plan = make_plan(layers(random.Random(1), 100), random_cluster(1, 9, twins=0), job(36, ranks=ranks))
    assert len(plan.stages) >= 9 or ranks == "auto"
