"""The work queue of a rank: the main thread puts tasks in, worker threads pull them out and touch only numpy.

Each worker has a Scratch of its own. The first exception of a task comes out of `take` in the main thread, with the
task's key, so that the rank can say what failed.
"""

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.layers import Scratch

Task = Callable[[Scratch], None]


class TaskError(Exception):
    """A task raised: `key` is what it was put under, the cause is what it raised."""

    def __init__(self, key: Any) -> None:
        super().__init__(f"task {key}")
        self.key = key


class Done(NamedTuple):
    """A task that has ended: its key, when it began and ended by the clock, and the CPU time it took."""

    key: Any
    began_s: float
    ended_s: float
    cpu_s: float


class WorkQueue:
    """`threads` workers behind one queue. `busy_s` adds up the seconds that tasks took, `cpu_s` their CPU time.

    A `pace` below 1 pretends a slower host: a worker sleeps after each task until it took 1 / `pace` as long.
    """

    def __init__(self, threads: int, clock: Clock = REAL_CLOCK) -> None:
        self.threads, self.clock, self.busy_s, self.cpu_s, self.pace = threads, clock, 0.0, 0.0, 1.0
        self._todo: list[tuple[float, int, Any, Task, Callable[[], None] | None]] = []
        self._count = itertools.count()
        self._running = 0
        self._lock = threading.Lock()
        self._tickets = clock.tickets()
        """One for each task put in; a False one ends the worker that draws it."""
        self._done: deque[tuple[Done, BaseException | None]] = deque()
        # Released when a task has ended. A SimpleQueue would not do for the main thread: CPython's `get` forgets its
        # timeout, and waits for ever, if a signal comes as it runs out.
        self._bell = clock.lock()
        self._bell.acquire()
        self._workers = [threading.Thread(target=self._work, name=f"worker-{i}", daemon=True) for i in range(threads)]
        for worker in self._workers:
            worker.start()

    @property
    def in_hand(self) -> int:
        """Tasks that have not ended, begun or not. It is for messages to people, and read without the lock."""
        return len(self._todo) + self._running

    def put(self, key: Any, task: Task, place: float = 0.0, then: Callable[[], None] | None = None) -> None:
        """Hand in a task under a key. A worker that is free takes that with the least `place`, of equals the first.

        `then` is called by the worker once the task has ended well, before it takes another; it may put in more.
        """
        with self._lock:
            heapq.heappush(self._todo, (place, next(self._count), key, task, then))
        self._tickets.put(True)

    def take(self, wait_s: float | None) -> Done | None:
        """A task that has ended, or None after `wait_s` seconds. Raises TaskError for one that raised."""
        if not self._done and wait_s:
            self._bell.acquire(timeout=wait_s)
        while not self._done and wait_s is None:
            self._bell.acquire()
        if not self._done:
            return None
        done, error = self._done.popleft()
        self.busy_s += done.ended_s - done.began_s
        self.cpu_s += done.cpu_s
        if error is not None:
            raise TaskError(done.key) from error
        return done

    def run_all(self, tasks: Sequence[tuple[Any, Task]]) -> None:
        """Put all tasks in and wait for them. Raises TaskError once none runs any more."""
        for key, task in tasks:
            self.put(key, task)
        try:
            for _ in tasks:
                self.take(None)
        except BaseException:
            self.drain()
            raise

    def drain(self) -> None:
        """Drop what no worker has begun, wait until all else has ended, whatever became of it, and forget it.

        Nothing is counted: an interrupt may have come before a task that ended was counted as such.
        """
        with self._lock:
            self._todo.clear()
        mark, last = object(), threading.Barrier(self.threads)

        def wait_for_all(scratch: Scratch) -> None:
            last.wait()  # so that each worker takes one of these, and none is busy with anything else by then

        for _ in self._workers:
            self.put(mark, wait_for_all, math.inf)
        missing = self.threads
        while missing:
            while not self._done:
                self._bell.acquire()
            missing -= self._done.popleft()[0].key is mark

    def close(self) -> None:
        """End the workers once they have done what is in the queue."""
        for _ in self._workers:
            self._tickets.put(False)
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        scratch, owed_s = Scratch(self.clock), 0.0
        while self._tickets.get():
            with self._lock:
                if not self._todo:
                    continue  # what the ticket was for has been dropped
                _, _, key, task, then = heapq.heappop(self._todo)
                self._running += 1
            error: BaseException | None = None
            began, cpu_began = self.clock.now(), time.thread_time()
            try:
                with np.errstate(all="ignore"):  # what is not finite is an error of the run, not a warning of numpy
                    task(scratch)
            except BaseException as raised:
                error = raised
            scratch.release(0)
            cpu_s = time.thread_time() - cpu_began
            if self.pace < 1:
                owed_s = _sleep(self.clock, owed_s + (1 / self.pace - 1) * (self.clock.now() - began))
            ended = self.clock.now()
            with self._lock:
                self._running -= 1
            if then is not None and error is None:
                then()
            self._done.append((Done(key, began, ended, cpu_s), error))
            with suppress(RuntimeError):  # it has been rung already
                self._bell.release()


def _sleep(clock: Clock, seconds: float) -> float:
    """Sleep; the seconds still owed: below 0 after a sleep that was longer than asked for, as all are by a little."""
    began = clock.now()
    if seconds > 0:
        clock.sleep(seconds)
        seconds -= clock.now() - began
    return seconds
