"""Time that tests let pass: it stands still while any thread works, and jumps to the next due moment when all wait.

So a run whose layers sleep takes exactly as long as its waits add up to, on any machine, however busy. Threads wait by
the `clock`. Only one of them works at a time, until it waits itself, so that every run is the same.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from mpipipe.clock import Clock

YIELD_S = 1e-6
"""What a thread that gives way waits for."""


@dataclass(eq=False)
class _Wait:
    due: float
    line: "deque[_Wait]"
    """The waits for the same lock or tickets, first come, first served."""
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.current_thread)
    got: Any = None


class VirtualTime:
    """Of `threads` threads, which all have to come to wait before time begins to pass."""

    def __init__(self, threads: int, start_s: float = 100.0) -> None:
        self.now_s, self.missing = start_s, threads
        self.mutex = threading.Lock()
        self.waits: list[_Wait] = []
        self.ready: deque[_Wait] = deque()
        """Waits that are over, of threads whose turn has not come yet."""
        self.seen: set[threading.Thread] = set()
        self.clock = Clock(
            now=lambda: self.now_s, sleep=self.sleep, give_way=lambda: self.sleep(YIELD_S),
            lock=lambda: VirtualLock(self), tickets=lambda: VirtualTickets(self), late_s=0.0,
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        """Until the time is `seconds` later; a little later at the least, or who sleeps again and again never would."""
        with self.mutex:
            wait = self.enter(deque(), max(seconds, 0.0))
        wait.over.wait()

    def leave(self) -> None:
        """The calling thread ends: time passes without it."""
        with self.mutex:
            self._see()
            self.seen.discard(threading.current_thread())
            self._pass()

    def dismiss(self, line: deque[_Wait]) -> None:
        """The first of a line ends, at once and while another works: that thread may wait for its end."""
        wait = line.popleft()
        self.waits.remove(wait)
        self.seen.discard(wait.thread)
        wait.over.set()

    def enter(self, line: deque[_Wait], seconds: float) -> _Wait:
        """The calling thread, which holds the mutex, begins to wait in a line, for at most so many seconds."""
        self._see()
        wait = _Wait(max(self.now_s + seconds, math.nextafter(self.now_s, math.inf)), line)
        self.waits.append(wait)
        line.append(wait)
        self._pass()
        return wait

    def serve(self, line: deque[_Wait], what: Any) -> None:
        """The first of a line gets what it waits for."""
        wait = line.popleft()
        self.waits.remove(wait)
        wait.got = what
        self.ready.append(wait)
        self._pass()

    def _see(self) -> None:
        if threading.current_thread() not in self.seen:
            self.seen.add(threading.current_thread())
            self.missing -= 1

    def _pass(self) -> None:
        """Let the next thread work, if none does."""
        resting = len(self.waits) + len(self.ready)
        if self.missing > 0 or resting < sum(thread.is_alive() for thread in self.seen):
            return
        wait = min(self.waits, key=lambda one: one.due, default=None)
        if self.ready:
            self.ready.popleft().over.set()
        elif wait is not None and wait.due < math.inf:
            self.now_s = wait.due
            self.waits.remove(wait)
            wait.line.remove(wait)
            wait.over.set()


class VirtualLock:
    """A lock that passes from who releases it to who waits first."""

    def __init__(self, time: VirtualTime) -> None:
        self.time, self.held = time, False
        self.line: deque[_Wait] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self.time.mutex:
            if not self.held:
                self.held = True
                return True
            if not blocking or timeout == 0:
                return False
            wait = self.time.enter(self.line, math.inf if timeout < 0 else timeout)
        wait.over.wait()
        return wait.got is True

    def release(self) -> None:
        with self.time.mutex:
            if not self.held:
                raise RuntimeError("released, but not held")
            if self.line:
                self.time.serve(self.line, True)
            else:
                self.held = False


class VirtualTickets:
    """Tickets; who waits first gets the next one. A thread ends when it gets one that is False."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.items: deque[bool] = deque()
        self.line: deque[_Wait] = deque()

    def put(self, item: bool) -> None:
        with self.time.mutex:
            if not self.line:
                self.items.append(item)
            elif item:
                self.time.serve(self.line, item)
            else:
                self.time.dismiss(self.line)

    def get(self) -> bool:
        with self.time.mutex:
            wait = None if self.items else self.time.enter(self.line, math.inf)
        if wait is not None:
            wait.over.wait()
            return bool(wait.got)
        item = self.items.popleft()
        if not item:
            self.time.leave()
        return item
