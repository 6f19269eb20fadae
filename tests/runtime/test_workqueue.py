"""The work queue: order, exceptions, time, an empty queue after every error, and an end."""

import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
from virtual_time import VirtualTime

from mpipipe.clock import REAL_CLOCK
from mpipipe.runtime.workqueue import TaskError, WorkQueue


@pytest.fixture
def make():
    """Makes queues that are closed in the end."""
    made = []

    def make_queue(threads=1, clock=REAL_CLOCK):
        made.append(WorkQueue(threads, clock))
        return made[-1]

    yield make_queue
    for work in made:
        work.close()


def fail(scratch):
    raise ZeroDivisionError("on purpose")


def key(done):
    """Of a task that must have ended."""
    assert done.began_s <= done.ended_s
    return done.key


def test_one_worker_keeps_the_order(make):
    work, done = make(), []
    for i in range(20):
        work.put(i, lambda scratch, i=i: done.append(i))
    assert [key(work.take(None)) for _ in range(20)] == list(range(20)) == done


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_so_many_tasks_run_side_by_side(make, threads):
    work, gate, all_began, began = make(threads), threading.Event(), threading.Semaphore(0), []
    for i in range(threads + 1):
        work.put(i, lambda scratch, i=i: (began.append(i), all_began.release(), gate.wait(60)))
    assert all(all_began.acquire(timeout=60) for _ in range(threads))
    time.sleep(0.05)
    assert sorted(began) == list(range(threads))
    gate.set()
    assert sorted(key(work.take(None)) for _ in range(threads + 1)) == list(range(threads + 1))


def test_take_waits_no_longer_than_it_is_told(make):
    virtual = VirtualTime(2)
    work = make(1, virtual.clock)
    assert work.take(0) is None
    work.put("slow", lambda scratch: scratch.clock.sleep(1.0))
    assert work.take(0) is None and work.take(0.02) is None
    assert virtual.now_s == pytest.approx(100.02)
    assert key(work.take(None)) == "slow" and work.take(0) is None
    assert virtual.now_s == pytest.approx(101)


def test_an_exception_comes_out_with_the_key_and_the_worker_lives_on(make):
    work = make()
    work.put("bad", fail)
    work.put("good", lambda scratch: None)
    with pytest.raises(TaskError, match="task bad") as caught:
        work.take(None)
    assert caught.value.key == "bad"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert key(work.take(None)) == "good"


def test_even_an_exit_does_not_end_the_worker(make):
    def leave(scratch):
        raise SystemExit(3)

    work = make()
    work.put(0, leave)
    with pytest.raises(TaskError) as caught:
        work.take(None)
    assert isinstance(caught.value.__cause__, SystemExit)
    work.run_all([(1, lambda scratch: None)])


def test_busy_seconds_are_those_of_the_tasks(make):
    virtual = VirtualTime(3)
    work = make(2, virtual.clock)
    work.run_all([(i, lambda scratch: scratch.clock.sleep(0.02)) for i in range(4)])
    virtual.sleep(0.02)
    assert work.busy_s == pytest.approx(0.08) and virtual.now_s == pytest.approx(100.06)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bad", [0, 2, 5])
def test_run_all_leaves_nothing_behind_when_a_task_raises(make, threads, bad):
    """Neither a running task nor a key that the next `take` would return."""
    work, running, lock = make(threads), [0], threading.Lock()

    def slow(scratch):
        with lock:
            running[0] += 1
        time.sleep(5e-3)
        with lock:
            running[0] -= 1

    with pytest.raises(TaskError, match="task bad"):
        work.run_all([("bad", fail) if i == bad else (i, slow) for i in range(6)])
    assert running == [0]
    time.sleep(0.05)
    assert work.take(0) is None
    done = []
    work.run_all([(key, lambda scratch: done.append(0)) for key in "ab"])
    assert len(done) == 2 and work.take(0) is None


def test_run_all_raises_the_first_error_of_several(make):
    work = make()
    with pytest.raises(TaskError, match="task 1"):
        work.run_all([(0, lambda scratch: None), (1, fail), (2, fail), (3, fail)])
    assert work.take(0.02) is None


def test_drain_waits_for_what_has_begun_whatever_becomes_of_it(make):
    work, done, begun = make(2), [], threading.Barrier(3, timeout=60)
    for task in (fail, lambda scratch: (time.sleep(0.02), done.append(0))):
        work.put("key", lambda scratch, task=task: (begun.wait(), task(scratch)))
    begun.wait()
    work.drain()
    assert done == [0] and work.take(0) is None


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_drain_drops_what_nobody_has_begun(make, threads):
    """However many were put in and taken: it may follow an interrupt, when nobody has counted."""
    work, begun, done = make(threads), [], []
    for i in range(5000):
        work.put(i, lambda scratch: (begun.append(0), time.sleep(5e-3), done.append(0)))
    work.take(None)
    work.drain()
    assert len(done) == len(begun) < 5000 and work.take(0.02) is None
    work.drain()
    work.run_all([(i, lambda scratch: done.append(1)) for i in range(20)])
    assert done.count(1) == 20 and len(begun) == done.count(0)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_least_place_goes_first_and_what_follows_a_task_is_put_in_before_the_next_is_taken(make, threads):
    work, done, gate = make(threads), [], threading.Event()
    for _ in range(threads):
        work.put("busy", lambda scratch: gate.wait(60))
    time.sleep(0.02)
    for place in (5.0, 3.0, 1.0):
        work.put(place, lambda scratch, place=place: done.append(place), place)
    gate.set()
    ended = [work.take(None).key for _ in range(threads + 3)]
    if threads == 1:
        assert ended == ["busy", 1.0, 3.0, 5.0]
        work.put("late", lambda scratch: done.append("late"), 9.0)
        work.run_all([])
        work.put("first", lambda scratch: time.sleep(0.02), 0.0, lambda: work.put("then", done.append, 0.5))
        work.put("last", lambda scratch: done.append("last"), 8.0)
        keys = [work.take(None).key for _ in range(4)]
        assert keys.index("then") == keys.index("first") + 1


def test_close_ends_the_workers_after_what_is_in_the_queue():
    work, done = WorkQueue(3), []
    names = {thread.name for thread in threading.enumerate()}
    assert {"worker-0", "worker-1", "worker-2"} <= names
    for i in range(10):
        work.put(i, lambda scratch: (time.sleep(1e-3), done.append(0)))
    before = threading.active_count()
    work.close()
    assert len(done) == 10 and threading.active_count() == before - 3


def test_every_worker_has_a_scratch_of_its_own_that_is_whole_again_for_each_task(make):
    work, seen, marks, gate = make(3), {}, set(), threading.Barrier(3, timeout=60)

    def task(i, scratch):
        gate.wait()
        marks.add(scratch.mark())
        scratch.take((4,), "f4")
        seen.setdefault(threading.current_thread().name, set()).add(id(scratch))
        if i == 4:
            raise ZeroDivisionError

    for start in (0, 3, 6):
        for i in range(start, start + 3):
            work.put(i, partial(task, i))
        for _ in range(3):
            with suppress(TaskError):
                work.take(None)
    assert marks == {0}
    assert len(seen) == 3 and all(len(scratches) == 1 for scratches in seen.values())
    assert len(set.union(*seen.values())) == 3


def test_signals_that_come_as_a_wait_runs_out_do_not_make_it_last_for_ever():
    """As mpirun passes on USR1 at any time, and the main thread waits for tens of microseconds at a time."""
    came, over = [], threading.Event()

    def send():
        while not over.wait(0.0002):
            os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, lambda number, frame: came.append(number))
    work, sender = WorkQueue(1), threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(5000):
            assert work.take(50e-6) is None
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR2, before)
        work.close()
    assert len(came) > 10


@pytest.mark.parametrize("pace", [1.0, 0.5, 0.25])
def test_a_slower_pace_makes_tasks_longer_and_counts_as_busy(make, pace):
    virtual = VirtualTime(2)
    work = make(1, virtual.clock)
    work.pace = pace
    work.run_all([(i, lambda scratch: scratch.clock.sleep(0.01)) for i in range(10)])
    assert virtual.now_s - 100 == pytest.approx(0.1 / pace) == work.busy_s


def test_sleeps_that_are_too_long_are_made_up_for(make):
    work = make()
    work.pace = 0.5
    began = time.perf_counter()
    work.run_all([(i, lambda scratch: spin(20e-6)) for i in range(500)])
    assert time.perf_counter() - began >= 0.02


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
