"""Messages over pretended links: how long they take, in what order, and that nothing else changes."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import VirtualTime

from mpipipe.clock import Clock
from mpipipe.resources.pretence import Link, PairLink, Pretence, PretendHost
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import Patience, wait_all
from mpipipe.runtime.slow_links import SlowLinks, over_links

from .cases import DEEP, make_case
from .harness import numbers, play, train
from .straight import same_bits, straight

GIGABIT = Link(200e-6, 125e6)
MEGABYTE = 2**20
ONE_S = MEGABYTE / GIGABIT.bandwidth
"""How long a link is busy with it."""


class Hands:
    """Those of a clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0
        self.clock = Clock(now=lambda: self.now)


@pytest.fixture
def clock():
    return Hands()


def pair(clock, link=GIGABIT):
    """Both ends of a link; `clock` has one."""
    mailbox = Mailbox(clock.clock)
    ends = [SlowLinks(LocalTransport(mailbox, rank), {1 - rank: link}, clock.clock) for rank in (0, 1)]
    return ends[0], ends[1]


def array(size=MEGABYTE):
    return np.zeros(size, np.uint8)


def arrivals(clock, transport, requests, most_s=1.0):
    """Seconds from now until each request is told as finished, by jumps to the moments that `soon_s` names."""
    began, found = clock.now, {}
    while len(found) < len(requests) and clock.now - began < most_s:
        found.update(dict.fromkeys(transport.finished(requests), clock.now - began))
        wait_s = transport.soon_s()
        clock.now += wait_s + 1e-9 if wait_s < math.inf else most_s
    return [found[i] for i in range(len(requests))]


def test_a_message_takes_its_bytes_and_the_latency_for_both_ends(clock):
    here, there = pair(clock)
    sent, received = here.send(array(), 1, 0), there.receive(array(), 0, 0)
    began = clock.now
    assert arrivals(clock, there, [received]) == [pytest.approx(ONE_S + 200e-6)]
    clock.now = began
    assert arrivals(clock, here, [sent]) == [pytest.approx(ONE_S + 200e-6)]
    assert here.finished([sent]) == there.finished([received]) == [], "a request ends once"


def test_a_message_begins_when_both_ends_have_posted_it(clock):
    here, there = pair(clock)
    sent = here.send(array(), 1, 0)
    clock.now += 1
    assert here.finished([sent]) == [] and here.soon_s() == math.inf
    received = there.receive(array(), 0, 0)
    assert arrivals(clock, there, [received]) == [pytest.approx(ONE_S + 200e-6)]


def test_when_a_message_met_its_receive_counts_not_when_that_was_seen(clock):
    here, there = pair(clock)
    here.send(array(), 1, 0)
    received = there.receive(array(), 0, 0)
    clock.now += ONE_S
    assert there.finished([received]) == [] and there.soon_s() == pytest.approx(200e-6)


def test_two_messages_one_way_go_one_after_the_other(clock):
    here, there = pair(clock)
    sent = [here.send(array(), 1, tag) for tag in range(2)]
    received = [there.receive(array(), 0, tag) for tag in range(2)]
    began, expected = clock.now, [pytest.approx(ONE_S + 200e-6), pytest.approx(2 * ONE_S + 200e-6)]
    assert arrivals(clock, there, received) == expected
    clock.now = began
    assert arrivals(clock, here, sent) == expected


def test_the_two_ways_do_not_disturb_each_other(clock):
    here, there = pair(clock)
    requests = [here.send(array(), 1, 0), here.receive(array(), 1, 0)]
    there.receive(array(), 0, 0), there.send(array(), 0, 0)
    assert arrivals(clock, here, requests) == [pytest.approx(ONE_S + 200e-6)] * 2


def test_count_waits_too_and_goes_by_what_came(clock):
    here, there = pair(clock)
    received = there.receive(array(), 0, 0)
    assert there.count(received) is None
    here.send(array(MEGABYTE // 2), 1, 0)
    assert there.count(received) is None
    clock.now += ONE_S / 2
    assert there.count(received) is None
    clock.now += 201e-6
    assert there.count(received) == MEGABYTE // 2


def test_a_rank_on_the_same_host_is_near(clock):
    mailbox = Mailbox()
    near, other = SlowLinks(LocalTransport(mailbox, 0), {2: GIGABIT}), LocalTransport(mailbox, 1)
    sent = near.send(array(), 1, 0)
    assert near.finished([sent]) == []
    other.receive(array(), 0, 0)
    assert near.finished([sent]) == [0]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.floats(0, 0.01), st.floats(1e6, 1e9))
def test_a_row_of_messages_takes_all_bytes_and_one_latency(sizes, latency_s, bandwidth):
    clock = Hands()
    here, there = pair(clock, Link(latency_s, bandwidth))
    for tag, size in enumerate(sizes):
        here.send(array(size), 1, tag)
    received = [there.receive(array(size), 0, tag) for tag, size in enumerate(sizes)]
    ends = arrivals(clock, there, received, 20.0)
    assert ends == [pytest.approx(total / bandwidth + latency_s, abs=1e-6) for total in np.cumsum(sizes)]


def test_a_megabyte_over_gigabit_ethernet_takes_nine_milliseconds():
    """From rank 0 to rank 1, as the two ends see it that wait for it."""
    virtual = VirtualTime(2)
    here, there = pair(virtual)

    def wait(rank):
        requests = [there.receive(array(), 0, 0)] if rank else [here.send(array(), 1, 0)]
        wait_all((here, there)[rank], requests, Patience(5, "a test", clock=virtual.clock))
        ends.append(virtual.now_s)
        virtual.leave()

    ends, threads = [], [threading.Thread(target=wait, args=(rank,)) for rank in (0, 1)]
    for act in (*(thread.start for thread in threads), *(thread.join for thread in threads)):
        act()
    assert ends == [pytest.approx(100 + ONE_S + 200e-6)] * 2


def pretence(*names, **more):
    return Pretence(tuple(PretendHost(name) for name in names), **more)


def test_links_are_by_the_names_of_hosts():
    inner, slow = LocalTransport(Mailbox(), 0), PairLink(0.003, 1e6, first="b", second="a")
    made = over_links(inner, 0, pretence("a", "a", "b", "c", link=GIGABIT, links=(slow,)))
    assert {peer: line.link for peer, line in made.outward.items()} == {2: slow, 3: GIGABIT}
    assert made.inward.keys() == made.outward.keys()


@pytest.mark.parametrize("told", [None, pretence("a", "b"), pretence("a", "a", link=GIGABIT)])
def test_where_nothing_is_slow_nothing_goes_around_the_transport(told):
    inner = SimpleNamespace()
    assert over_links(inner, 0, told) is inner


def test_a_whole_training_has_the_same_bits():
    case = make_case(DEEP, (4,), cuts=(2, 4), order=(1, 0, 2), threads=2, clip_norm=0.05)
    told = pretence("a", "b", "c", link=Link(1e-3, 1e5))
    outcome = play(case, train(case, 3), link=lambda inner: over_links(inner, inner.rank, told))
    history = straight(case, 3)
    assert numbers(outcome.value) == history.numbers
    same_bits(outcome.weights(), history.everything[-1])
