"""Who is measured with whom, and links between threads of one process."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def two_ends(transports):
    lines = [Line(transport, 1 - rank, rank == 0) for rank, transport in enumerate(transports)]
    found = [None, None]

    def end(rank):
        found[rank] = measure_link(lines[rank], "here", "there")

    other = threading.Thread(target=end, args=(1,))
    other.start()
    end(0)
    other.join(10)
    assert not other.is_alive()
    return found[0]


def test_a_link_between_threads():
    mailbox = Mailbox()
    link = two_ends([LocalTransport(mailbox, rank) for rank in (0, 1)])
    assert (link.first, link.second) == ("here", "there")
    assert 0 < link.latency_s < 0.1
    assert 1e6 < link.bandwidth < 1e13 and 1e6 < link.both_bandwidth < 1e13


class Wire(LocalTransport):
    """Messages take a latency and their bytes' time on the way. As in life, ways there and back are two."""

    LATENCY_S, BANDWIDTH = 5e-3, 1e8

    def finished(self, requests):
        now = links.time.perf_counter()
        for request in requests:
            if request.done and not hasattr(request, "due"):
                request.due = now + self.LATENCY_S + request.array.nbytes / self.BANDWIDTH
        ready = [i for i, request in enumerate(requests) if request.done and now >= request.due]
        for i in ready:
            requests[i].reported = True
        return ready


def test_latency_and_bandwidth_of_a_known_wire():
    mailbox = Mailbox()
    link = two_ends([Wire(mailbox, rank) for rank in (0, 1)])
    # A send is known to have ended, and a receive to have come, one after the other here.
    assert 5e-3 <= link.latency_s < 15e-3
    assert LARGE_BYTES / (LARGE_BYTES / 1e8 * 3) < link.bandwidth < 1.1e8


def test_a_silent_peer_is_an_error(monkeypatch):
    monkeypatch.setattr(links, "STALL_S", 0.05)
    with pytest.raises(StallError, match="measuring the link to rank 1: nothing arrived"):
        measure_link(Line(LocalTransport(Mailbox(), 0), 1, True), "here", "there")


def test_a_host_that_is_all_noise_has_a_bandwidth_still():
    assert links._bandwidth(1e-3, 5e-3) == LARGE_BYTES / 0.5e-3
    assert np.isclose(links._bandwidth(1e-2, 2e-3), LARGE_BYTES / 8e-3)
