"""The interpreter: walks a rank's program, starts what may start, and waits without spinning.

A program is the graphs of the rank's lanes laid side by side, each node with the function that does it. Tasks whose
needs are met go to the work queue, from which a worker takes the one that stands first in the program, as in the
simulation; messages are begun at once. Those who wait for a task alone need not wait for the main thread too: the
worker puts them into the queue before it takes its next one, so that what stands first is there to be taken.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpipipe.layers import Array
from mpipipe.runtime.messages import Patience, Transport
from mpipipe.runtime.workqueue import Task, WorkQueue
from mpipipe.schedule import Action, Graph, Kind, Node

IDLE_WAIT_S, BUSY_WAIT_S = 0.2e-3, 1e-3
"""The longest sleep between two looks at messages while a worker has nothing to do, and its core is free to look; the
shortest while all are busy, and a look may take a core from one of them: 0.07 ms of CPU time, under a CPU quota."""


@dataclass(frozen=True)
class Program:
    """Nodes of all lanes of a rank. Exactly one of `tasks[i]` and `messages[i]` is there.

    `times` (2, nodes) says of the last run when each node began and ended, by the clock: a task when a worker
    took it and was through, a message when it was begun and when it was seen to have ended. `computes` is 1 for F, I
    and W, which are the stages' own work, and 0 for all else.
    """

    actions: tuple[Action, ...]
    parts: tuple[int, ...]
    needs: tuple[int, ...]
    users: tuple[tuple[int, ...], ...]
    tasks: tuple[Task | None, ...]
    messages: tuple[Callable[[], Any] | None, ...]
    computes: Array
    times: Array


def make_program(
    lanes: Sequence[tuple[Graph, Callable[[Node], Task], Callable[[Node], Callable[[], Any]]]],
) -> Program:
    """Bind graphs to functions: each lane says how a task, and how a message, of it is done."""
    actions: list[Action] = []
    parts: list[int] = []
    needs: list[int] = []
    users: list[list[int]] = [[] for graph, _, _ in lanes for _ in graph]
    tasks: list[Task | None] = []
    messages: list[Callable[[], Any] | None] = []
    for graph, task_of, message_of in lanes:
        base = len(actions)
        for node in graph:
            for need in node.needs:
                users[base + need].append(len(actions))
            needs.append(len(node.needs))
            tasks.append(task_of(node) if node.computes else None)
            messages.append(None if node.computes else message_of(node))
            actions.append(node.action)
            parts.append(node.part)
    computes = np.array([float(action.kind in (Kind.F, Kind.I, Kind.W)) for action in actions])
    return Program(
        tuple(actions),
        tuple(parts),
        tuple(needs),
        tuple(map(tuple, users)),
        tuple(tasks),
        tuple(messages),
        computes,
        np.zeros((2, len(actions))),
    )


def execute(
    program: Program,
    work: WorkQueue,
    transport: Transport,
    idle: Callable[[], None],
    patience: Patience,
    look_s: float = IDLE_WAIT_S,
) -> None:
    """Do the whole program. `idle` is called whenever nothing has happened; what it raises ends the program. Between
    two looks at messages a rank with an idle worker sleeps no longer than `look_s`.

    Whatever is raised, no task runs any more when this returns. Raises TaskError, or what `idle` or MPI raises.
    """
    run = _Run(program, work, transport)
    try:
        run.loop(idle, patience, look_s)
    except BaseException:
        run.stopped = True
        work.drain()
        raise


class _Run:
    def __init__(self, program: Program, work: WorkQueue, transport: Transport) -> None:
        self.program, self.work, self.transport = program, work, transport
        self.missing = list(program.needs)
        self.lock = threading.Lock()
        self.begin: deque[int] = deque()
        """Messages whose needs are met, for the main thread to begin."""
        self.tasks = 0
        """Tasks handed in that have not been seen to end."""
        self.stopped = False
        self.requests: list[Any] = []
        self.owners: list[int] = []
        self.left = len(program.actions)
        self.began, self.ended = program.times

    def loop(self, idle: Callable[[], None], patience: Patience, look_s: float) -> None:
        for i, count in enumerate(self.program.needs):
            if not count:
                self.start(i)
        self.begin_messages()
        while self.left:
            if self.look(0.0):
                patience.renew()
                continue
            idle()
            wait_s = patience.next_wait(self.pending)
            wait_s = min(wait_s, look_s) if self.tasks < self.work.threads else max(wait_s, BUSY_WAIT_S)
            if self.look(min(wait_s, self.transport.soon_s())):
                patience.renew()

    def start(self, i: int) -> None:
        task = self.program.tasks[i]
        if task is None:
            self.begin.append(i)
        else:
            with self.lock:
                self.tasks += 1
            self.work.put(i, task, i, partial(self.release, i))

    def look(self, wait_s: float) -> bool:
        """Take in what has ended, a task within at most `wait_s` seconds. Whether anything had."""
        before = self.left
        done = self.work.take(wait_s)
        if done is not None:
            self.began[done.key], self.ended[done.key] = done.began_s, done.ended_s
            self.left -= 1
            with self.lock:
                self.tasks -= 1
        if self.requests:
            ended = sorted(self.transport.finished(self.requests), reverse=True)
            for index in ended:
                self.requests.pop(index)
            # In the order of the program: a worker that is free takes what it is given first.
            for owner in sorted(self.owners.pop(index) for index in ended):
                self.ended[owner] = self.work.clock.now()
                self.left -= 1
                self.release(owner)
        self.begin_messages()
        return self.left < before

    def begin_messages(self) -> None:
        while self.begin:
            i = self.begin.popleft()
            message = self.program.messages[i]
            assert message is not None
            self.began[i] = self.work.clock.now()
            self.requests.append(message())
            self.owners.append(i)

    def release(self, i: int) -> None:
        """Start whoever waited for node i alone. The main thread calls this of messages, workers of their tasks."""
        with self.lock:
            ready = []
            for user in self.program.users[i]:
                self.missing[user] -= 1
                if not self.missing[user]:
                    ready.append(user)
        if not self.stopped:
            for user in ready:
                self.start(user)

    def pending(self) -> str:
        names = [str(self.program.actions[i]) for i in self.owners[:12]]
        return ", ".join(names) or "its own tasks"
