"""Who is measured with whom, and links between threads of one process."""

import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import VirtualTime

from mpipipe.clock import REAL_CLOCK
from mpipipe.errors import StallError
from mpipipe.runtime import links
from mpipipe.runtime.links import LARGE_BYTES, Line, measure_link, tournament
from mpipipe.runtime.local import LocalTransport, Mailbox


@given(st.lists(st.sampled_from("abcdefghi"), min_size=1, max_size=20))
def test_every_pair_of_hosts_meets_once_and_no_host_twice_at_a_time(hosts):
    rounds = tournament(hosts)
    met = [tuple(sorted((hosts[a], hosts[b]))) for pairs in rounds for a, b in pairs]
    names = sorted(set(hosts))
    several = [(name, name) for name in names if hosts.count(name) > 1]
    assert sorted(met) == sorted([*itertools.combinations(names, 2), *several])
    for pairs in rounds:
        ranks = [rank for pair in pairs for rank in pair]
        assert pairs and len(set(ranks)) == len(ranks)
        assert all(a < b for a, b in pairs)
    lowest = {hosts.index(name) for name in names}
    assert all({a, b} <= lowest for pairs in rounds for a, b in pairs if hosts[a] != hosts[b])
    assert len(rounds) <= bool(several) + len(names) - 1 + len(names) % 2


def test_one_rank_has_no_link():
    assert tournament(["a"]) == []


def two_ends(transports, clock=REAL_CLOCK, leave=lambda: None):
    lines = [Line(transport, 1 - rank, rank == 0, clock) for rank, transport in enumerate(transports)]
    found = [None, None]

    def end(rank):
        found[rank] = measure_link(lines[rank], "here", "there")
        leave()

    other = threading.Thread(target=end, args=(1,))
    other.start()
    end(0)
    other.join(60)
    assert not other.is_alive()
    return found[0]


def test_a_link_between_threads():
    mailbox = Mailbox()
    link = two_ends([LocalTransport(mailbox, rank) for rank in (0, 1)])
    assert (link.first, link.second) == ("here", "there")
    assert 0 < link.latency_s < math.inf
    assert 0 < link.bandwidth < math.inf and 0 < link.both_bandwidth < math.inf


class Wire(LocalTransport):
    """Messages take a latency and their bytes' time on the way. As in life, ways there and back are two."""

    LATENCY_S, BANDWIDTH = 5e-3, 1e8

    def finished(self, requests):
        now = self.mailbox.clock.now()
        for request in requests:
            if request.done and not hasattr(request, "due"):
                request.due = now + self.LATENCY_S + request.array.nbytes / self.BANDWIDTH
        ready = [i for i, request in enumerate(requests) if request.done and now >= request.due]
        for i in ready:
            requests[i].reported = True
        return ready


def test_latency_and_bandwidth_of_a_known_wire():
    virtual = VirtualTime(2)
    mailbox = Mailbox(virtual.clock)
    link = two_ends([Wire(mailbox, rank) for rank in (0, 1)], virtual.clock, virtual.leave)
    print(link)
    assert link.latency_s == pytest.approx(5e-3, rel=0.02)
    assert link.bandwidth == link.both_bandwidth == pytest.approx(1e8, rel=0.02)


def test_a_silent_peer_is_an_error(monkeypatch):
    monkeypatch.setattr(links, "STALL_S", 0.05)
    with pytest.raises(StallError, match="measuring the link to rank 1: nothing arrived"):
        measure_link(Line(LocalTransport(Mailbox(), 0), 1, True), "here", "there")


def test_a_host_that_is_all_noise_has_a_bandwidth_still():
    assert links._bandwidth(1e-3, 5e-3) == LARGE_BYTES / 0.5e-3
    assert np.isclose(links._bandwidth(1e-2, 2e-3), LARGE_BYTES / 8e-3)
