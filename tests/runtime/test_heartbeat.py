"""Signs of life: rank 0 knows who is silent, and time in which a process was stopped is no silence."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.runtime.heartbeat import LAST, Heart, Peer, Watch, beat_s
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import STOPPED_S, Patience, RunningTime

STALL_S = 60.0


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20))
def test_a_stop_counts_as_one_second_at_most(gaps):
    running = RunningTime()
    for gap in gaps:
        running.read_at -= gap
        running.seconds()
    assert running.total_s <= STOPPED_S * len(gaps)
    assert running.total_s == pytest.approx(sum(min(gap, STOPPED_S) for gap in gaps), abs=0.1)


def watched(stall_s=STALL_S):
    mailbox, said = Mailbox(), []
    peers = [Peer(1, "mini1", os.getpid(), (0,)), Peer(2, "mini2", os.getpid(), (1, 3))]
    watch = Watch(LocalTransport(mailbox, 0), peers, stall_s, said.append)
    hearts = [Heart(LocalTransport(mailbox, rank), 0, stall_s) for rank in (1, 2)]
    return watch, hearts, said


def pass_time(watch, hearts, seconds):
    """So many seconds, in which these ranks are alive."""
    for _ in range(int(seconds / STOPPED_S)):
        for heart in hearts:
            heart.beat_at -= 1.0
            heart.beat()
        for one in watch.ranks:
            one.silence.read_at -= STOPPED_S
        watch.look_at -= 1.0
        watch.look()


def test_a_silent_rank_is_named_seldomer_and_seldomer_until_it_answers():
    watch, hearts, said = watched()
    pass_time(watch, hearts[:1], 45)
    assert len(said) == 3 and all("waiting for rank 2 on mini2 (stages 1, 3) for" in line for line in said)
    assert watch.silent().startswith("rank 2 on mini2 (stages 1, 3): silent for 4")
    pass_time(watch, hearts, 3)
    assert "rank 2 on mini2 (stages 1, 3) answers again after 4" in said[-1] and len(said) == 4
    assert watch.silent() == ""


def test_a_rank_that_computes_for_ever_is_named():
    watch, hearts, _ = watched()
    hearts[0].beat_at -= 1.0
    hearts[0].beat(2)
    watch.look()
    assert watch.silent() == "rank 1 on mini1 (stage 0): 2 tasks do not end"


def test_a_job_of_long_steps_is_told_later_who_is_silent():
    watch, hearts, said = watched()
    watch.name([one.peer for one in watch.ranks], 6.0)
    pass_time(watch, hearts[:1], 17)
    assert said == []
    pass_time(watch, hearts[:1], 5)
    assert len(said) == 1
    watch.name([one.peer for one in watch.ranks], 1000.0)  # but never so late that the run has ended before
    assert watch.notice_s == STALL_S / 2


def test_a_rank_that_was_told_to_end_tells_rank_0():
    watch, hearts, _ = watched()
    pass_time(watch, hearts, 2)
    assert watch.asked() == ""
    hearts[1].asked = lambda: True
    pass_time(watch, hearts, 2)
    assert watch.asked() == "rank 2 on mini2 (stages 1, 3)" and watch.silent() == ""


def test_signs_of_life_end_with_the_last():
    watch, hearts, _ = watched()
    for heart in hearts:
        heart.stop(Patience(5, "a test"))
    watch.close(Patience(5, "a test"))
    assert [one.tasks for one in watch.ranks] == [LAST, LAST]


def test_several_signs_of_life_fit_into_the_shortest_stall():
    assert beat_s(600) == 0.5 and beat_s(0.1) == pytest.approx(0.01)


def test_a_process_that_has_ended_is_known_on_its_own_host_only():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert Peer(1, "here", ended.pid).has_died("here")
    assert not Peer(1, "there", ended.pid).has_died("here")
    assert not Peer(1, "here", os.getpid()).has_died("here")
