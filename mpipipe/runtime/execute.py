"""The interpreter: walks a rank's program, starts what may start, and waits without spinning.

A program is the graphs of the rank's lanes laid side by side, each node with the function that does it. Tasks whose
needs are met go to the work queue, those first that stand first; messages are begun at once. The queue is never filled
further than one task ahead of the workers, so that the order of the schedule stays the order of preference.
"""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpipipe.layers import Array
from mpipipe.runtime.messages import Patience, Transport
from mpipipe.runtime.workqueue import Task, WorkQueue
from mpipipe.schedule import Action, Graph, Kind, Node

AHEAD = 1
"""Tasks in the queue beyond those that workers are at, so that no worker falls asleep between two tasks."""


@dataclass(frozen=True)
class Program:
    """Nodes of all lanes of a rank. Exactly one of `tasks[i]` and `messages[i]` is there.

    `times` (2, nodes) says of the last run when each node began and ended, by time.perf_counter: a task when a worker
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
    program: Program, work: WorkQueue, transport: Transport, idle: Callable[[], None], patience: Patience
) -> None:
    """Do the whole program. `idle` is called whenever nothing has happened; what it raises ends the program.

    Whatever is raised, no task runs any more when this returns. Raises TaskError, or what `idle` or MPI raises.
    """
    run = _Run(program, work, transport)
    try:
        run.loop(idle, patience)
    except BaseException:
        work.drain()
        raise


class _Run:
    def __init__(self, program: Program, work: WorkQueue, transport: Transport) -> None:
        self.program, self.work, self.transport = program, work, transport
        self.missing = list(program.needs)
        self.ready: list[int] = []
        self.requests: list[Any] = []
        self.owners: list[int] = []
        self.running = 0
        self.left = len(program.actions)
        self.began, self.ended = program.times

    def loop(self, idle: Callable[[], None], patience: Patience) -> None:
        for i, count in enumerate(self.program.needs):
            if not count:
                self.start(i)
        while self.left:
            self.feed()
            if self.look(0.0):
                patience.renew()
                continue
            idle()
            if self.look(min(patience.next_wait(self.pending), self.transport.soon_s())):
                patience.renew()

    def start(self, i: int) -> None:
        message = self.program.messages[i]
        if message is None:
            heapq.heappush(self.ready, i)
        else:
            self.began[i] = time.perf_counter()
            self.requests.append(message())
            self.owners.append(i)

    def feed(self) -> None:
        while self.ready and self.running < self.work.threads + AHEAD:
            i = heapq.heappop(self.ready)
            task = self.program.tasks[i]
            assert task is not None
            self.work.put(i, task)
            self.running += 1

    def look(self, wait_s: float) -> bool:
        """Take in what has ended, a task within `wait_s` at the longest. Whether anything had."""
        ended = self.take(wait_s)
        done = [] if ended is None else [ended]
        if self.requests:
            for index in sorted(self.transport.finished(self.requests), reverse=True):
                owner = self.owners.pop(index)
                self.ended[owner] = time.perf_counter()
                done.append(owner)
                self.requests.pop(index)
        for i in done:
            self.finish(i)
        return bool(done)

    def take(self, wait_s: float) -> int | None:
        try:
            done = self.work.take(wait_s)
        except Exception:
            self.running -= 1
            raise
        if done is None:
            return None
        self.running -= 1
        i: int = done.key
        self.began[i], self.ended[i] = done.began_s, done.ended_s
        return i

    def finish(self, i: int) -> None:
        self.left -= 1
        for user in self.program.users[i]:
            self.missing[user] -= 1
            if not self.missing[user]:
                self.start(user)

    def pending(self) -> str:
        names = [str(self.program.actions[i]) for i in self.owners[:6]]
        return ", ".join(names) or "its own tasks"
