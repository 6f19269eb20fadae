"""A job that fits nowhere: the least memory that is named does, and less does not."""

import random
import re
from dataclasses import replace

import pytest
from effort import usual

from mpipipe.errors import PlanError
from mpipipe.plan import make_plan
from mpipipe.plan.refuse import FINE

from .cases import cluster, host, job, layers, random_cluster

NAMED = re.compile(r"host \S+ \(rank (\d+)\) is short by")
ENOUGH = re.compile(r"; ([\d,]+) available bytes would do, on each of the hosts named")


def refusal(costs, hosts, asked, reserved=None):
    """The ranks named, and the bytes that would do."""
    with pytest.raises(PlanError) as caught:
        make_plan(costs, hosts, asked, reserved)
    message = str(caught.value)
    (enough,) = ENOUGH.findall(message)
    return [int(rank) for rank in NAMED.findall(message)], int(enough.replace(",", ""))


def with_room(hosts, ranks, room):
    """These ranks with so much, if they have less."""
    return cluster(
        *(
            replace(one, available_bytes=max(room, one.available_bytes)) if one.rank in ranks else one
            for one in hosts.hosts
        )
    )


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"schedule": "gpipe"},
        {"schedule": "zb-h1"},
        {"ranks": "auto"},
        {"recompute": "never"},
        {"recompute": "always"},
        {"ranks": 2},
    ],
    ids=str,
)
def test_what_is_named_would_do_and_less_would_not(asked):
    refused, cases = 0, usual(9, 40)
    for seed in range(cases):
        rng = random.Random(seed)
        costs, micros = layers(rng, rng.randint(2, 7)), rng.randint(1, 8)
        hosts = random_cluster(seed, rng.randint(2, 4), tight=rng.choice((3000, 6000, 10_000)))
        settings, reserved = job(micros, **asked), {0: rng.choice((0, 4000))}
        try:
            make_plan(costs, hosts, settings, reserved)
            continue
        except PlanError:
            refused += 1
        ranks, enough = refusal(costs, hosts, settings, reserved)
        make_plan(costs, with_room(hosts, ranks, enough), settings, reserved)
        everyone = range(len(hosts.hosts))
        refusal(costs, with_room(hosts, everyone, int(enough / FINE) - 1), settings, reserved)
    assert refused > cases / 5


def test_every_thread_that_recomputes_needs_room():
    """Sixty-four threads with all activations of a stage each need more than any number of micro-batches."""
    costs, asked = layers(random.Random(2), 4), job(2, recompute="always")
    one = host(0, threads=64, available_bytes=1000)
    ranks, enough = refusal(costs, cluster(one), asked)
    assert ranks == [0]
    make_plan(costs, with_room(cluster(one), ranks, enough), asked)


@pytest.mark.parametrize("asked", [{}, {"schedule": "gpipe"}], ids=str)
def test_other_numbers_of_ranks_that_fit_are_named(asked):
    """All four ranks cannot have a share, for one has no room; three can."""
    hosts = random_cluster(1, 4)
    none = cluster(replace(hosts.hosts[0], available_bytes=1), *hosts.hosts[1:])
    costs = layers(random.Random(1), 6)
    with pytest.raises(PlanError, match=r"help: plan\.ranks=[123] fits; or ") as caught:
        make_plan(costs, none, job(**asked))
    fits = int(re.search(r"plan\.ranks=(\d)", str(caught.value))[1])
    assert len(make_plan(costs, none, job(ranks=fits, **asked)).lanes) == fits
