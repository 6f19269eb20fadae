"""Planning takes seconds: of this process alone, so that other work on the machine does not count."""

import random
import time
from dataclasses import replace

import pytest

from mpipipe.plan import make_plan

from .cases import cluster, job, layers, random_cluster, random_host


def planned(costs, hosts, asked):
    """The plan, and the seconds that it took."""
    began = time.process_time()
    plan = make_plan(costs, hosts, asked)
    return plan, time.process_time() - began


@pytest.mark.parametrize("ranks", ["all", "auto"])
def test_nine_unlike_hosts_and_a_hundred_layers(ranks):
    plan, took_s = planned(layers(random.Random(1), 100), random_cluster(1, 9, twins=0), job(36, ranks=ranks))
    assert took_s < 5
    assert len(plan.stages) >= 9 or ranks == "auto"


@pytest.mark.parametrize("ranks", ["all"])
def test_sixty_four_hosts_of_four_kinds_and_four_hundred_layers(ranks):
    rng = random.Random(5)
    four = [random_host(rng, 0) for _ in range(4)]
    hosts = cluster(*(replace(four[rank % 4], rank=rank, name=f"mini{rank}") for rank in range(64)))
    plan, took_s = planned(layers(random.Random(1), 400), hosts, job(128, ranks=ranks))
    assert took_s < 60
    assert len(plan.stages) >= 64 or ranks == "auto"
