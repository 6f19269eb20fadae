"""The clock of a rank, and what its threads wait with: a parameter, so that a test may let time pass as it likes."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol


class Lock(Protocol):
    """What the runtime uses of threading.Lock."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait for the lock. Whether it was got within `timeout` seconds."""

    def release(self) -> None:
        """Let a thread that waits have it. Raises RuntimeError where nobody holds it."""


class Tickets(Protocol):
    """What the runtime uses of queue.SimpleQueue."""

    def put(self, item: bool) -> None:
        """Add one."""

    def get(self) -> bool:
        """Wait for one and take it."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """`now` counts seconds from any moment. Every wait of the runtime whose end depends on time, or on another thread
    of a rank, is one of `sleep`, of `give_way` (others may have the core for a moment), of a lock or of tickets."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], object] = time.sleep
    give_way: Callable[[], object] = getattr(os, "sched_yield", partial(time.sleep, 0))
    lock: Callable[[], Lock] = threading.Lock
    tickets: Callable[[], Tickets] = SimpleQueue[Any]
    late_s: float = 100e-6
    """How late a sleep ends on an ordinary kernel, or nearly. Who must be on time waits awake for so long."""

    def sleep_until(self, moment: float) -> None:
        """Be on time."""
        while (left := moment - self.now()) > 0:
            if left > self.late_s:
                self.sleep(left - self.late_s)


REAL_CLOCK = Clock()
"""That of the machine."""
