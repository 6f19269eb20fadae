"""The interpreter: everything once, after what it needs, the first of the lane first, and nothing left behind."""

import math
import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import VirtualTime

from mpipipe.clock import REAL_CLOCK
from mpipipe.errors import StallError
from mpipipe.runtime.execute import Program, execute, make_program
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import Patience
from mpipipe.runtime.workqueue import TaskError, WorkQueue
from mpipipe.schedule import (
    Action,
    Kind,
    Room,
    gpipe,
    lower,
    one_f_one_b,
    source_graph,
    stage_graph,
    straight,
    unit_pipeline,
)


class Counted(WorkQueue):
    """Knows how many tasks are in it and in which order they were begun."""

    def __init__(self, threads, clock):
        super().__init__(threads, clock)
        self.inside = 0
        self.order = []

    def put(self, key, task, place=0.0, then=None):
        def noted(scratch):
            self.order.append(key)
            task(scratch)

        self.inside += place < math.inf
        super().put(key, noted if place < math.inf else task, place, then)

    def take(self, wait_s):
        before = self.busy_s
        try:
            done = super().take(wait_s)
        except TaskError:
            self.inside -= 1
            raise
        self.inside -= done is not None or self.busy_s != before
        return done


def program(needs, task, message=None):
    """Nodes that need others; those that `message` gives something for are messages."""
    users = [[] for _ in needs]
    for i, some in enumerate(needs):
        for need in some:
            users[need].append(i)
    messages = [message(i) if message else None for i in range(len(needs))]
    tasks = [None if messages[i] else partial(task, i) for i in range(len(needs))]
    actions = tuple(Action(Kind.F, i) for i in range(len(needs)))
    counts, computes = tuple(map(len, needs)), np.array([float(task is not None) for task in tasks])
    times, parts = np.zeros((2, len(needs))), (0,) * len(needs)
    users = tuple(map(tuple, users))
    return Program(actions, parts, counts, users, tuple(tasks), tuple(messages), computes, times)


def run(made, threads=1, idle=lambda: None, stall_s=20.0, transport=None, clock=REAL_CLOCK):
    work = Counted(threads, clock)
    try:
        execute(made, work, transport or LocalTransport(Mailbox(), 0), idle, Patience(stall_s, "a test", clock=clock))
    finally:
        work.close()
    return work


@st.composite
def needs_of_nodes(draw):
    """Up to 20 nodes in a hidden order, each needing some of those before it there: later ones of the lane too."""
    count = draw(st.integers(0, 20))
    order = draw(st.permutations(range(count)))
    needs = [[] for _ in range(count)]
    for place, i in enumerate(order):
        needs[i] = draw(st.lists(st.sampled_from(order[:place]), max_size=3, unique=True)) if place else []
    return needs


@given(needs_of_nodes(), st.integers(1, 3), st.sets(st.integers(0, 19)))
@settings(max_examples=60, deadline=None)
def test_every_node_once_and_after_what_it_needs(needs, threads, talking):
    """Nodes in `talking` are messages that this rank sends to itself: they begin at once, and end later."""
    done, lock, link = [], threading.Lock(), LocalTransport(Mailbox(), 0)

    def task(i, scratch):
        with lock:
            done.append(i)

    def message(i):
        if i not in talking:
            return None

        def begin():
            done.append(i)
            link.send(np.zeros(1), 0, i)
            return link.receive(np.zeros(1), 0, i)

        return begin

    work = run(program(needs, task, message), threads, transport=link)
    assert sorted(done) == list(range(len(needs)))
    assert all(done.index(need) < done.index(i) for i, some in enumerate(needs) for need in some)
    assert work.inside == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_ready_tasks_are_taken_in_the_order_of_the_program(threads):
    work = run(program([[]] * 30, lambda i, scratch: time.sleep(1e-3)), threads)
    assert work.order == list(range(30))


def test_of_the_ready_tasks_the_first_of_the_lane_goes_first():
    """1 must wait for 0; once it is ready it goes before all that stand behind it."""
    needs = [[0] if i == 1 else [] for i in range(12)]
    assert run(program(needs, lambda i, scratch: time.sleep(2e-3))).order == list(range(12))


def test_lanes_lie_side_by_side_the_source_first():
    """What stands first in the program is what the ranks behind wait for."""
    lowered = lower(one_f_one_b(unit_pipeline(straight(1), 3, [2])))
    done = []

    def task_of(node):
        return lambda scratch: done.append(f"{node.action}")

    link = LocalTransport(Mailbox(), 0)

    def message_of(node):
        def begin():
            done.append(f"{node.action}")
            number = {Kind.SEND_DATA: 0, Kind.RECV_ACT: 0, Kind.SEND_TARGET: 1, Kind.RECV_TARGET: 1}[node.action.kind]
            offer = link.send if node.action.kind in (Kind.SEND_DATA, Kind.SEND_TARGET) else link.receive
            return offer(np.zeros(1), 0, 2 * node.action.micro + number)

        return begin

    lanes = [(source_graph(lowered.source, 2), task_of, message_of)]
    lanes.append((stage_graph(lowered.lanes[0], (Room(2, 1, 2),)), task_of, message_of))
    made = make_program(lanes)
    assert [str(action) for action in made.actions[:3]] == ["LOAD0", "SEND_DATA0", "SEND_TARGET0"]
    run(made, transport=link)
    assert len(done) == len(made.actions) and done.count("W1") == 2
    for micro in range(3):
        line = [f"LOAD{micro}", f"SEND_DATA{micro}", f"F{micro}", f"I{micro}", f"W{micro}"]
        assert [done.index(name) for name in line] == sorted(done.index(name) for name in line)
    assert done.index("W0") < done.index("F2")


def test_an_action_waits_for_its_slot_even_where_the_lane_frees_it_later():
    """All forwards stand first, but there is room for one micro-batch only: 1 must wait for W0, which stands later."""
    lane = lower(gpipe(unit_pipeline(straight(1), 3))).lanes[0]
    names, link = [], LocalTransport(Mailbox(), 0)

    def task_of(node):
        return lambda scratch: names.append(str(node.action))

    def message_of(node):
        def begin():
            names.append(str(node.action))
            link.send(np.zeros(1), 0, 0)
            return link.receive(np.zeros(1), 0, 0)

        return begin

    graph = stage_graph(lane, (Room(1, 1),))
    run(make_program([(graph, task_of, message_of)]), transport=link)
    data = [name for name in names if "TARGET" not in name]
    assert data == [f"{kind}{micro}" for micro in range(3) for kind in ("RECV_ACT", "F", "I", "W")]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_comes_out_when_no_task_runs_any_more(threads):
    running, lock = [0], threading.Lock()

    def task(i, scratch):
        with lock:
            running[0] += 1
        time.sleep(5e-3)
        with lock:
            running[0] -= 1
        if i == 4:
            raise ZeroDivisionError("on purpose")

    work = WorkQueue(threads)
    with pytest.raises(TaskError) as caught:
        execute(program([[]] * 20, task), work, LocalTransport(Mailbox(), 0), lambda: None, Patience(20, "a test"))
    assert caught.value.key == 4 and isinstance(caught.value.__cause__, ZeroDivisionError)
    assert running == [0] and work.take(0.05) is None
    work.close()


@pytest.mark.parametrize("error", [InterruptedError, KeyboardInterrupt])
def test_what_idle_raises_ends_the_program_when_no_task_runs_any_more(error):
    done, calls = [], []

    def idle():
        calls.append(0)
        if len(calls) == 3:
            raise error

    def task(i, scratch):
        time.sleep(20e-3)
        done.append(i)

    with pytest.raises(error):
        run(program([[]] * 50, task), 2, idle)
    assert len(done) <= 2 + 2 + len(calls)


def test_what_a_message_raises_ends_the_program():
    def begin():
        raise BufferError("too long")

    with pytest.raises(BufferError):
        run(program([[], [0]], lambda i, scratch: None, lambda i: begin if i else None))


def test_a_message_that_never_comes_is_a_stall_that_names_it():
    link = LocalTransport(Mailbox(), 0)
    made = program([[], [], [0, 1]], lambda i, scratch: None, lambda i: partial(link.receive, np.zeros(1), 1, i))
    with pytest.raises(StallError, match=r"a test: nothing arrived for 0.05 s; waiting for F0, F1"):
        run(made, stall_s=0.05, transport=link)


def test_a_slow_task_is_no_stall_as_long_as_others_end():
    clock = VirtualTime(2).clock
    made = program([[i - 1] if i else [] for i in range(10)], lambda i, scratch: scratch.clock.sleep(0.04))
    run(made, stall_s=0.3, clock=clock)
    assert clock.now() > 100.3


def test_an_empty_program_ends_at_once():
    run(program([], lambda i, scratch: None))
