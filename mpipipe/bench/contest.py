"""Contestants as processes that stay alive and take orders in turn; and the rounds of a contest.

Only one of them works at a time. Whatever goes wrong with one ends the contest, with its name and what it said last.
"""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mpipipe.errors import MpipipeError

WAIT_S, STEP_WAIT_S = 300.0, 60.0
"""How long a contestant may take to start or to answer, and how much more for each step."""
END_WAIT_S = 10.0
TAIL, TAIL_BYTES = 20, 8000
SAME = 1e-3
"""By how much losses may differ, relatively."""
FIRST_STEPS = 3
ROUND_S = 2.0


class ContestError(MpipipeError):
    """A contestant that died, hangs, talks nonsense, or does not compute what the others do."""


@dataclass(frozen=True)
class Entry:
    """Who competes: the name for the reader, whose side it is on, the stages of its pipeline, how it is started.

    `alike`: it computes in the model's own micro-batches; otherwise in as large ones as its threads can use.
    """

    name: str
    side: str
    stages: int
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    alike: bool = True


class Contestant:
    """A started entry. `round_s` are seconds a step of each round; `losses` those of the first steps."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.steps = 1
        self.round_s: list[float] = []
        self.losses: list[float] = []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            entry.command,
            env={**os.environ, **entry.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def ready(self) -> dict[str, Any]:
        """Wait until it is ready; the facts that it tells."""
        line = self._answer(WAIT_S)
        word, _, text = line.partition(" ")
        try:
            facts: dict[str, Any] = json.loads(text) if word == "ready" else self._fail(f"said {line!r}")
        except ValueError:
            self._fail(f"said {line!r}")
        return facts

    def go(self, steps: int) -> tuple[float, float]:
        """Let it do so many steps: their seconds together, and the last loss."""
        self.order(f"go {steps}")
        line = self._answer(WAIT_S + STEP_WAIT_S * steps)
        try:
            seconds, loss = map(float, line.split())
        except ValueError:
            self._fail(f"said {line!r}")
        return seconds, loss

    def stop(self, deadline: float) -> None:
        """Wait until it has ended, as it was ordered to; from `deadline` (of the monotonic clock) on, by force."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        for end in (signal.SIGTERM, signal.SIGKILL):  # whoever is left of it
            with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                os.killpg(self._process.pid, end)
                self._process.wait(END_WAIT_S)
        self._said.close()

    def order(self, order: str) -> None:
        """Give it an order of `lines`."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died then, and there will be no answer
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()

    def _answer(self, wait_s: float) -> str:
        try:
            line = self._lines.get(timeout=wait_s)
        except queue.Empty:
            self._fail(f"said nothing for {wait_s:g} s")
        if line is None:
            self._fail("ended")
        return line

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip("\0\n"))
        self._lines.put(None)

    def _fail(self, what: str) -> NoReturn:
        if what == "ended":
            with suppress(subprocess.TimeoutExpired):
                what += f" with status {self._process.wait(END_WAIT_S)}"
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))  # its own place in it stays
        lines = text.decode(errors="replace").replace("\0", "").rstrip().splitlines()
        last = "".join(f"\n    {line}" for line in lines[-TAIL:]) or " nothing"
        raise ContestError(f"contestant '{self.entry.name}' {what}; the last that it wrote on standard error:{last}")


def stop_all(contestants: Sequence[Contestant]) -> None:
    """End all of them; one that is at work gets some seconds to finish."""
    for one in contestants:
        one.order("end")
    deadline = time.monotonic() + END_WAIT_S
    for one in contestants:
        one.stop(deadline)


def check_losses(model: str, contestants: Sequence[Contestant]) -> None:
    """Let all do the first steps. Raises ContestError where their losses are not the same; the ceiling has none."""
    trainers = [one for one in contestants if one.entry.side != "ceiling"]
    for one in contestants:
        for _ in range(FIRST_STEPS):
            seconds, loss = one.go(1)
            one.losses.append(loss)
            one.steps = max(1, round(ROUND_S / max(seconds, 1e-6)))
    for one in trainers[1:]:
        for step, (loss, wanted) in enumerate(zip(one.losses, trainers[0].losses, strict=True)):
            if not abs(loss - wanted) <= SAME * abs(wanted):
                raise ContestError(
                    f"{model}: the contestants do not compute the same: the loss of step {step + 1} is {wanted:.6g} by "
                    f"'{trainers[0].entry.name}', but {loss:.6g} by '{one.entry.name}'; needed: within {SAME:g} of it"
                )


def run_rounds(contestants: Sequence[Contestant], rounds: int, steps: int, tell: Callable[[str], None]) -> None:
    """Let everyone have a turn in each round, in an order that turns round every time. `steps` 0: about 2 s a turn."""
    for number in range(rounds):
        for one in contestants if number % 2 == 0 else reversed(contestants):
            if steps and one.entry.side != "ceiling":
                one.steps = steps
            one.round_s.append(one.go(one.steps)[0] / one.steps)
        tell(f"round {number + 1} of {rounds}")
