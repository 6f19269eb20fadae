"""An error, never a hang: a task that raises, and a peer that falls silent, end the run and say where."""

import threading
import time
from functools import partial

import numpy as np
import pytest

from mpipipe.errors import StallError
from mpipipe.runtime.member import ActionError
from mpipipe.runtime.orders import What

from .cases import DEEP, make_case
from .harness import numbers, play, train, virtual_time
from .straight import straight


def three_ranks(**more):
    """Rank 0 holds the middle stage of DEEP."""
    return make_case(DEEP, (4,), **{"cuts": (2, 4), "order": (1, 0, 2), "threads": 2, **more})


class Watch:
    """Makes tasks of one rank slow, knows how many run, and lets one of them raise."""

    def __init__(self):
        self.lock, self.running = threading.Lock(), 0

    def slow(self, work, raises, *arguments):
        with self.lock:
            self.running += 1
        try:
            time.sleep(3e-3)
            if raises(*arguments):
                raise ZeroDivisionError("on purpose")
            work(*arguments)
        finally:
            with self.lock:
                self.running -= 1

    def tamper(self, rank, action):
        """F1, I1, W1, or the second task of the updates or of the norms."""
        methods = {"F1": "forward", "I1": "grad_input", "W1": "grad_weight"}

        def tamper(member):
            if member.crew.rank != rank:
                return
            stage = member.stages[0]
            for name, method in methods.items():
                setattr(stage, method, partial(self.slow, getattr(stage, method), partial(is_second, name == action)))
            for method in ("update_tasks", "norm_tasks"):
                setattr(stage, method, partial(self.tasks, getattr(stage, method), method.startswith(action)))

        return tamper

    def tasks(self, make, bad, *arguments):
        return [
            (key, partial(self.slow, task, lambda *_, raises=bad and i == 1: raises))
            for i, (key, task) in enumerate(make(*arguments))
        ]


def is_second(action, micro, *_):
    return action and micro == 1


ACTIONS = {
    "F1": "stage {stage}, action F1",
    "I1": "stage {stage}, action I1",
    "W1": "stage {stage}, action W1",
    "norm": "stage {stage}, norm of layer {layer}",
    "update": "stage {stage}, update of layer {first}, ",
}


@pytest.mark.parametrize("stage", range(3))
@pytest.mark.parametrize("action", ACTIONS)
def test_a_task_that_raises_ends_the_run_with_stage_action_and_cause(action, stage):
    case, watch, seen = three_ranks(), Watch(), []
    plan = case.plan.stages[stage]

    def looking(work, *arguments):
        """Notes what is still going on when the error comes out."""
        try:
            return work(*arguments)
        except ActionError:
            seen.append((watch.running, members[plan.rank].work.take(0)))
            raise

    members = {}

    def tamper(member):
        members[member.crew.rank] = member
        watch.tamper(plan.rank, action)(member)
        if member.crew.rank == plan.rank:
            for name in ("run_batch", "update"):
                setattr(member, name, partial(looking, getattr(member, name)))

    outcome = play(case, train(case, 2), tamper=tamper, hopeful=False)
    assert list(outcome.errors) == [plan.rank] and outcome.statuses == {}
    error = outcome.errors[plan.rank]
    assert isinstance(error, ActionError) and isinstance(error.__cause__, ZeroDivisionError)
    layers = {"stage": stage, "layer": plan.first + 1, "first": plan.first + (stage == 2)}
    assert str(error).startswith(ACTIONS[action].format(**layers))
    assert seen == [(0, None)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)])
def test_a_source_that_cannot_be_read_ends_the_run(order):
    case = make_case(DEEP, (4,), cuts=(3,), order=order, ranks=3)

    def broken(rows, x, t):
        if 3 in rows:
            raise OSError("bad sector")
        case.feed(rows, x, t)

    def story(conductor):
        return conductor.train(np.arange(7), broken, 0, 0.1)

    outcome = play(case, story, hopeful=False)
    assert list(outcome.errors) == [0]
    assert isinstance(outcome.errors[0], ActionError) and isinstance(outcome.errors[0].__cause__, OSError)
    assert str(outcome.errors[0]) == "source, action LOAD1"


# ---- silence ----------------------------------------------------------------------------------------------------


def silent(member):
    while True:
        member.transport.finished([])
        member.work.clock.sleep(1e-3)


def silent_after(*steps):
    """A rank that does these steps of a training order, and then nothing."""

    def part(member):
        order = member.next_order()
        for step in steps:
            step(member, order)
        return silent(member)

    return part


def run_batch(member, order):
    member.run_batch(order)


def report(member, order):
    member.send_report(-1)


@pytest.mark.parametrize(
    ("order", "part", "message"),
    [
        ((0, 1), silent, r"stage 0: nothing arrived for 0.15 s; waiting for .*SEND_ACT0"),
        ((1, 0), silent, r"stage 1: nothing arrived for 0.15 s; waiting for .*RECV_ACT0"),
        ((0, 1), silent_after(run_batch), r"waiting for the last stage's report: nothing"),
        ((1, 0), silent_after(run_batch), r"waiting for reports: nothing"),
        ((0, 1), silent_after(run_batch, report), r"sending the gradients' norm: nothing"),
    ],
)
def test_a_peer_that_falls_silent_is_a_stall_that_says_what_is_missing(order, part, message):
    case = make_case(DEEP, (4,), cuts=(3,), order=order, stall_s=0.15, clip_norm=1.0)
    outcome = play(case, train(case), parts={1: part}, hopeful=False, virtual=virtual_time(case))
    assert list(outcome.errors) == [0]
    with pytest.raises(StallError, match=message):
        raise outcome.errors[0]


def test_a_norm_that_never_comes_is_a_stall():
    case = make_case(DEEP, (4,), cuts=(3,), stall_s=0.15, clip_norm=1.0)

    def story(conductor):
        conductor._tell_norm = lambda norm, scale: silent(conductor.member)
        train(case)(conductor)

    outcome = play(case, story, hopeful=False, virtual=virtual_time(case))
    with pytest.raises(StallError, match=r"waiting for the gradients' norm: nothing arrived for 0.75 s"):
        raise outcome.errors[1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)])
def test_a_silent_rank_0_is_a_stall_for_all_others(order):
    case = make_case(DEEP, (4,), cuts=(3,), order=order, ranks=3, stall_s=0.15)
    outcome = play(case, lambda conductor: silent(conductor.member), hopeful=False, virtual=virtual_time(case))
    for error in outcome.errors.values():
        with pytest.raises(StallError, match="waiting for orders of rank 0: nothing arrived for 0.75 s"):
            raise error
    assert outcome.errors


def test_idle_ranks_wait_for_orders_as_long_as_there_are_any():
    """Ranks without a stage get every order, so a long training is no stall for them."""
    case = make_case(DEEP, (4,), cuts=(3,), ranks=4, stall_s=0.3)

    def slowly(conductor, step):
        conductor.member.work.clock.sleep(0.1)

    outcome = play(case, train(case, 5, slowly), virtual=virtual_time(case))
    assert outcome.statuses == dict.fromkeys(range(4), 0)


def test_slow_is_not_silent():
    """A step may take longer than run.stall_s as long as something happens meanwhile."""
    case = three_ranks(stall_s=0.3, batch=8, micro_batch=1, threads=1)
    virtual = virtual_time(case)

    def tamper(member):
        stage = member.stages[0]
        if member.crew.rank == 2:
            forward = stage.forward
            stage.forward = lambda *arguments: (virtual.sleep(0.06), forward(*arguments))

    began = virtual.now_s
    outcome = play(case, train(case, 2), tamper=tamper, virtual=virtual)
    assert numbers(outcome.value) == straight(case, 2).numbers
    assert virtual.now_s - began > 2 * 0.3


def test_ranks_that_wait_for_orders_leave_the_core_to_others():
    case, used = make_case(DEEP, (4,), cuts=(3,), ranks=3), {}

    def part(member):
        order = member.next_order()
        began = time.thread_time()
        while order.what != What.STOP:
            member.obey(order)
            order = member.next_order()
        used[member.crew.rank] = time.thread_time() - began
        member.obey(order)
        return order.number

    play(case, lambda conductor: (train(case, 1)(conductor), time.sleep(0.3)), parts={1: part, 2: part})
    assert max(used.values()) < 0.15
