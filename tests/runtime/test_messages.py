"""Ports refuse what was not agreed on before it is sent; waiting leaves the core to others and ends in time."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import VirtualTime

from mpipipe.errors import StallError
from mpipipe.runtime.crew import Crew, end_ports, ports_of
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import LONG_WAIT_S, SHORT_WAIT_S, MessageError, Patience, Tag, port, wait_all

from .cases import cases


class Untouched:
    """A transport that must not be used."""

    def send(self, array, peer, tag):
        raise AssertionError("sent")

    receive = finished = count = soon_s = send


PORT = port(2, Tag.ACT, 4, (3, 5), np.float32)
GOOD = np.zeros((4, 3, 5), np.float32)


@pytest.mark.parametrize(
    "array",
    [
        GOOD.astype(np.float64),
        GOOD.astype(">f4"),
        GOOD.astype(np.int32),
        GOOD[:0],
        np.zeros((5, 3, 5), np.float32),
        np.zeros((4, 15), np.float32),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 3, 5, 1), np.float32),
        np.zeros((3, 5), np.float32),
        np.zeros((4, 3, 10), np.float32)[:, :, ::2],
        np.asfortranarray(np.zeros((4, 3, 5), np.float32)),
        np.zeros((8, 3, 5), np.float32)[::2],
        np.zeros((), np.float32),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}{array.flags.c_contiguous}",
)
@pytest.mark.parametrize("way", ["send", "receive"])
def test_a_port_refuses_what_was_not_agreed_on(array, way):
    with pytest.raises(
        MessageError, match=r"message ACT with rank 2: .*; needed: float32 \(1 to 4, 3, 5\), contiguous"
    ):
        getattr(PORT, way)(Untouched(), array, 0)


def test_a_port_of_single_numbers_refuses_what_has_no_rows():
    with pytest.raises(MessageError, match=r"int64 \(\); needed: int64 \(1 to 4\), contiguous"):
        port(0, Tag.TARGET, 4, (), np.int64).send(Untouched(), np.zeros((), np.int64), 0)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_port_lets_a_smaller_last_micro_batch_through(rows):
    mailbox, got = Mailbox(), np.full((4, 3, 5), -1, np.float32)
    here, there = LocalTransport(mailbox, 0), LocalTransport(mailbox, 2)
    PORT.send(here, np.ones((rows, 3, 5), np.float32), 7)
    port(0, Tag.ACT, 4, (3, 5), np.float32).receive(there, got, 7)
    assert (got[:rows] == 1).all() and (got[rows:] == -1).all()


@given(st.sets(st.tuples(st.sampled_from(list(Tag)), st.integers(0, 10**6)), max_size=50))
def test_no_two_messages_share_a_tag(some):
    assert len({tag.of(number) for tag, number in some}) == len(some)


@given(cases())
def test_both_ends_of_every_stream_agree(case):
    """Peers name each other; rows, shape and dtype are the same on both sides; no stream has a message of another."""
    crews = [Crew(rank, case.plan, case.model, case.job) for rank in range(case.plan.ranks)]
    ranks = [stage.rank for stage in case.plan.stages]
    ports, ends = [ports_of(crews[rank], stage) for stage, rank in enumerate(ranks)], end_ports(crews[0])
    first, last = (ranks[0], ports[0]), (ranks[-1], ports[-1])
    streams = [(0, ends.data_out, first[0], first[1].act_in), (0, ends.target_out, last[0], last[1].target_in)]
    streams += [(last[0], last[1].out, 0, ends.out_in)]
    for (before, out), (after, into) in pairwise(zip(ranks, ports, strict=True)):
        streams += [(before, out.act_out, after, into.act_in), (after, into.grad_out, before, out.grad_in)]
    seen = set()
    for sender, out, receiver, into in streams:
        assert (out.peer, into.peer) == (receiver, sender)
        assert out.facts() == into.facts()
        seen |= {(sender, receiver, out._number(micro)) for micro in range(case.plan.micros)}
    assert len(seen) == len(streams) * case.plan.micros


# ---- waiting ----------------------------------------------------------------------------------------------------


def test_patience_sleeps_longer_and_longer_until_something_happens():
    clock = VirtualTime(1).clock
    patience, waits = Patience(100, "a test", clock=clock), []
    for _ in range(200):
        waits.append(patience.next_wait(str))
        clock.sleep(waits[-1])
    assert waits[0] == SHORT_WAIT_S and waits[-1] == LONG_WAIT_S and waits == sorted(waits)
    patience.renew()
    assert patience.next_wait(str) == SHORT_WAIT_S


def test_patience_ends_and_says_what_was_waited_for():
    clock = VirtualTime(1).clock
    patience = Patience(0.02, "stage 3", clock=clock)
    with pytest.raises(StallError, match=r"stage 3: nothing arrived for 0.02 s; waiting for RECV_ACT1"):
        while True:
            clock.sleep(patience.next_wait(lambda: "RECV_ACT1"))
    assert clock.now() == pytest.approx(100.02, abs=2 * LONG_WAIT_S)


def test_wait_all_ends_with_the_last_request_and_is_renewed_by_each():
    mailbox, virtual = Mailbox(), VirtualTime(2)
    here, there = LocalTransport(mailbox, 0), LocalTransport(mailbox, 1)
    requests = [here.receive(np.empty(1), 1, tag) for tag in range(6)]
    idle = []

    def send():
        for tag in (3, 0, 5, 4, 1, 2):
            virtual.sleep(0.05)
            there.send(np.ones(1), 0, tag)
        virtual.leave()

    sender = threading.Thread(target=send)
    sender.start()
    wait_all(here, requests, Patience(0.25, "a test", clock=virtual.clock), lambda: idle.append(0))
    sender.join()
    assert len(idle) > 5 and all(request.done for request in requests)


def test_waiting_leaves_the_core_to_others():
    """Who waits long looks once a millisecond."""
    here, looks = LocalTransport(Mailbox(), 0), []
    patience = Patience(0.3, "a test", clock=VirtualTime(1).clock)
    with pytest.raises(StallError):
        wait_all(here, [here.receive(np.empty(1), 1, 0)], patience, lambda: looks.append(0))
    assert len(looks) < 1.2 * 0.3 / LONG_WAIT_S


# ---- the transport in one process -------------------------------------------------------------------------------


def test_a_local_send_ends_when_it_is_received():
    mailbox, got = Mailbox(), np.zeros(3)
    here, there = LocalTransport(mailbox, 0), LocalTransport(mailbox, 1)
    sent = here.send(np.arange(3.0), 1, 5)
    assert here.finished([sent]) == [] and here.count(sent) is None
    received = there.receive(got, 0, 5)
    assert here.finished([sent]) == there.finished([received]) == [0]
    assert got.tolist() == [0, 1, 2]
    assert here.finished([sent]) == there.finished([received]) == []


def test_local_messages_of_one_tag_keep_their_order_and_others_do_not_mix():
    mailbox = Mailbox()
    here, there = LocalTransport(mailbox, 0), LocalTransport(mailbox, 1)
    got = {tag: [np.zeros(1) for _ in range(3)] for tag in (1, 2)}
    for tag in (2, 1):
        for array in got[tag]:
            there.receive(array, 0, tag)
    for number in range(3):
        here.send(np.full(1, number), 1, 1)
        here.send(np.full(1, 10.0 + number), 1, 2)
    assert [array[0] for array in got[2]] == [10, 11, 12]
    assert got[1][0].view(np.int64)[0] == 0 and got[1][2].view(np.int64)[0] == 2


def test_a_local_receive_tells_how_much_came_and_refuses_too_much():
    mailbox = Mailbox()
    here = LocalTransport(mailbox, 0)
    request = here.receive(np.zeros(4), 0, 1)
    here.send(np.zeros(3), 0, 1)
    assert here.count(request) == 24
    here.receive(np.zeros(2), 0, 2)
    with pytest.raises(BufferError, match="24 bytes for a buffer of 16"):
        here.send(np.zeros(3), 0, 2)
