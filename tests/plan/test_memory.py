"""Where nothing fits, the message says who is short and by how much; with exactly that much more, it fits."""

import random
import re
from dataclasses import replace

import pytest
from effort import usual

from mpipipe.errors import PlanError
from mpipipe.plan import make_plan
from mpipipe.plan.memory import stage_bytes
from mpipipe.plan.problem import StageChoice

from .cases import alike, cluster, equal_layers, host, job, layers, problem_of, random_cluster

SHORT = re.compile(
    r"host (\S+) \(rank (\d+)\) is short by ([\d,]+) bytes: layers (\S+) to (\S+) take ([\d,]+) bytes, "
    r"([\d,]+) are available"
)


def number(text):
    return int(text.replace(",", ""))


def refusal(costs, hosts, asked):
    """What is said, and (rank, bytes short) of every host named in it."""
    with pytest.raises(PlanError) as caught:
        make_plan(costs, cluster(*hosts), asked)
    message, found = str(caught.value), SHORT.findall(str(caught.value))
    assert found, message
    assert "\n" not in message
    for name, rank, short, first, last, takes, has in found:
        one = hosts[int(rank)]
        assert one.name == name
        assert number(has) == max(0, one.available_bytes)
        assert number(short) == number(takes) - one.available_bytes
        assert first <= last
    return message, [(int(rank), number(short)) for _, rank, short, *_ in found]


def with_more(hosts, rank, more):
    return [replace(one, available_bytes=one.available_bytes + more * (one.rank == rank)) for one in hosts]


def test_the_message():
    costs = equal_layers(4, weight_bytes=1_000_000)
    hosts = [host(0, available_bytes=5_000_000)]
    message, ((_, short),) = refusal(costs, hosts, job(schedule="1f1b"))
    need = stage_bytes(problem_of(costs, hosts), StageChoice(0, 0, 4), 1, 1)
    assert message.startswith(
        f"plan: host mini0 (rank 0) is short by {need - 5_000_000:,} bytes: layers 000_layer to 003_layer take "
        f"{need:,} bytes, 5,000,000 are available; needed: every stage within its host's memory; {need:,} available "
        "bytes would do, on each of the hosts named; help: "
    )
    assert short == need - 5_000_000


SETTINGS = [{}, {"schedule": "gpipe"}, {"schedule": "1f1b"}, {"ranks": "auto"}, {"in_flight": 3}]


@pytest.mark.parametrize("asked", SETTINGS, ids=str)
def test_one_host_is_short_by_exactly_what_it_lacks(asked):
    for seed in range(15):
        rng = random.Random(seed)
        costs, settings = layers(rng, rng.randint(1, 6)), job(rng.randint(1, 9), **asked)
        hosts = [replace(one, available_bytes=rng.randint(1, 3000)) for one in random_cluster(seed, 1).hosts]
        _, ((rank, short),) = refusal(costs, hosts, settings)
        make_plan(costs, cluster(*with_more(hosts, rank, short)), settings)
        refusal(costs, with_more(hosts, rank, short - 1), settings)


@pytest.mark.parametrize("asked", SETTINGS[:3], ids=str)
def test_where_one_of_several_is_short_it_fits_with_that_much_more(asked):
    singles, cases = 0, usual(16, 40)
    for seed in range(cases):
        rng = random.Random(seed)
        costs, micros = layers(rng, rng.randint(2, 6)), rng.randint(1, 9)
        ranks = rng.randint(2, min(4, len(costs)))
        small = rng.randrange(ranks)
        hosts = [
            replace(one, available_bytes=rng.randint(1, 9000)) if one.rank == small else one
            for one in random_cluster(seed, ranks).hosts
        ]
        settings = job(micros, **asked)
        try:
            make_plan(costs, cluster(*hosts), settings)
        except PlanError:
            _, named = refusal(costs, hosts, settings)
            assert [rank for rank, _ in named] == [small]
            make_plan(costs, cluster(*with_more(hosts, *named[0])), settings)
            singles += 1
    assert singles > cases / 5


@pytest.mark.parametrize("schedule", ["auto", "1f1b", "gpipe"])
def test_cuts_by_hand_are_short_by_exactly_what_they_lack(schedule):
    """Of the schedules that the job allows, the one that takes least is the one that counts."""
    costs = equal_layers(4, out=1000)
    hosts = [host(0), host(1, available_bytes=3000)]
    settings = job(8, schedule=schedule, cuts=(2,))
    _, ((rank, short),) = refusal(costs, hosts, settings)
    assert rank == 1
    make_plan(costs, cluster(*with_more(hosts, 1, short)), settings)
    refusal(costs, with_more(hosts, 1, short - 1), settings)


def test_every_host_that_is_short_is_named():
    hosts = alike(3, available_bytes=1000).hosts
    _, named = refusal(equal_layers(6), hosts, job())
    assert sorted(rank for rank, _ in named) == [0, 1, 2]


def test_a_small_host_among_large_ones_gets_what_it_can_hold():
    costs = equal_layers(9, weight_bytes=100_000)
    small = stage_bytes(problem_of(costs, [host(0)]), StageChoice(0, 8, 9), 1, 1)
    hosts = [host(0, available_bytes=small), host(1), host(2)]
    plan = make_plan(costs, cluster(*hosts), job())
    assert [stage.last - stage.first for stage in plan.stages if stage.rank == 0] == [1]
