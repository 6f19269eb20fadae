"""The trace: of some steps, every rank tells rank 0 when each of its actions and messages began and ended.

Every step is recorded, in the arrays of its program. What is told are full batches only, the first, second, fourth,
eighth and so on, and the last few of every stretch of 64: which these are every rank knows by counting. Rank 0 keeps
the former, and the latest of the latter, so that neither its memory nor the file grows with the run. A resumed run, and
one whose layers have moved, counts anew.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpipipe.layers import Array
from mpipipe.runtime.execute import Program
from mpipipe.runtime.messages import Patience, Tag, Transport, wait_all
from mpipipe.schedule import Kind

KINDS = tuple(Kind)
"""Kinds of actions by their number in a record."""
COLUMNS = 6
"""Of a record: number of the kind, micro-batch, chunk, part, began and ended."""
STRETCH, LAST, KEPT = 64, 4, 48
"""Of each stretch of so many steps, the last few are told; so many of them are kept at the most."""
KEPT_BYTES = 4 << 20
"""And so many bytes of them."""
MOST_CLOCKS = 64
"""Comparisons of clocks that are remembered: of more, every second one is."""
ROUNDS = 12
"""Questions about the time by which a clock's offset is found."""


def is_told(number: int) -> bool:
    """Whether the full step of this number, counted from 1 since the run began, is told."""
    return number & (number - 1) == 0 or number % STRETCH >= STRETCH - LAST


def record(program: Program) -> Array:
    """(nodes, COLUMNS) of the program's last run."""
    rows = np.empty((len(program.actions), COLUMNS))
    for i, (action, part) in enumerate(zip(program.actions, program.parts, strict=True)):
        rows[i, :4] = KINDS.index(action.kind), action.micro, action.chunk, part
    rows[:, 4:] = program.times.T
    return rows


def compute_seconds(program: Program) -> float:
    """Worker seconds of F, I and W in the program's last run."""
    return float(program.computes @ program.times[1] - program.computes @ program.times[0])


class Teller:
    """A rank's side. `tell` sends a record; it is not waited for until the next one."""

    def __init__(self, transport: Transport, conductor: int) -> None:
        self.transport, self.conductor = transport, conductor
        self.full_steps = 0
        self.sent: list[Any] = []

    def tell(self, program: Program, patience: Patience) -> None:
        """After each full step."""
        self.full_steps += 1
        if not is_told(self.full_steps):
            return
        wait_all(self.transport, self.sent, patience)
        rows = record(program)
        size = np.array([float(len(rows))])
        self.sent = [
            self.transport.send(size, self.conductor, Tag.TRACE.of(0)),
            self.transport.send(rows, self.conductor, Tag.TRACE.of(1)),
        ]


class Listener:
    """Rank 0's side: the records of all `ranks`, by step; those of the first and latest steps."""

    def __init__(self, transport: Transport, ranks: tuple[int, ...]) -> None:
        self.transport, self.ranks = transport, ranks
        self.full_steps = 0
        self.firsts: dict[int, dict[int, Array]] = {}
        self.latest: deque[tuple[int, dict[int, Array]]] = deque(maxlen=KEPT)

    def hear(self, step: int, patience: Patience) -> None:
        """After each full step, whose number in the whole training is `step`."""
        self.full_steps += 1
        number = self.full_steps
        if not is_told(number):
            return
        sizes = {rank: np.zeros(1) for rank in self.ranks}
        receives = [self.transport.receive(size, rank, Tag.TRACE.of(0)) for rank, size in sizes.items()]
        wait_all(self.transport, receives, patience)
        rows = {rank: np.empty((int(size[0]), COLUMNS)) for rank, size in sizes.items()}
        receives = [self.transport.receive(array, rank, Tag.TRACE.of(1)) for rank, array in rows.items()]
        wait_all(self.transport, receives, patience)
        if number & (number - 1) == 0:
            self.firsts[step] = rows
        else:
            self.latest.append((step, rows))
            size = sum(array.nbytes for array in rows.values())
            while len(self.latest) > 1 and len(self.latest) * size > KEPT_BYTES:
                self.latest.popleft()

    def records(self) -> dict[int, dict[int, Array]]:
        """By step and rank."""
        found = {**self.firsts, **dict(self.latest)}
        return {step: found[step] for step in sorted(found)}


def answer_clock(transport: Transport, conductor: int, patience: Patience) -> None:
    """Every rank but 0: tell the time whenever asked, ROUNDS times."""
    question, answer = np.zeros(1), np.zeros(1)
    for number in range(ROUNDS):
        request = transport.receive(question, conductor, Tag.CLOCK.of(2 * number))
        if number:
            _wait_awake(transport, request, patience)
        else:
            wait_all(transport, [request], patience)  # others may be asked before
        answer[0] = patience.clock.now()
        _wait_awake(transport, transport.send(answer, conductor, Tag.CLOCK.of(2 * number + 1)), patience)


def ask_clocks(transport: Transport, ranks: Sequence[int], patience: Patience) -> dict[int, tuple[float, float]]:
    """Rank 0: by rank, seconds that its clock is ahead of rank 0's, and how far off that may be.

    Of the rounds, that with the shortest way there and back; the answer came at most half of it from the middle
    (Cristian 1989).
    """
    offsets: dict[int, tuple[float, float]] = {}
    question, answer = np.zeros(1), np.zeros(1)
    for rank in ranks:
        best = (np.inf, 0.0)
        for number in range(ROUNDS):
            asked = patience.clock.now()
            requests = [
                transport.receive(answer, rank, Tag.CLOCK.of(2 * number + 1)),
                transport.send(question, rank, Tag.CLOCK.of(2 * number)),
            ]
            for request in requests:
                _wait_awake(transport, request, patience)
            told = patience.clock.now()
            best = min(best, (told - asked, float(answer[0]) - (asked + told) / 2))
        offsets[rank] = (best[1], best[0] / 2)
    return offsets


def _wait_awake(transport: Transport, request: Any, patience: Patience) -> None:
    """A sleep would be longer than what is measured."""
    while not transport.finished([request]):
        patience.clock.give_way()
        if patience.waited_s() > patience.stall_s:
            patience.next_wait("a rank's clock".__str__)
