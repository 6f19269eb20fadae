"""Contestants as processes that stay alive and take orders.

Whatever goes wrong with one is a ContestError, with its name and what it said last.
"""

import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mpipipe.bench.used import Used
from mpipipe.errors import MpipipeError, UserError
from mpipipe.records import from_plain

WAIT_S, STEP_WAIT_S = 300.0, 60.0
"""How long a contestant may take to start or to answer, and how much more for each step."""
END_WAIT_S = 10.0
TAIL, TAIL_BYTES = 20, 8000
ERROR = re.compile(r"^\s*([\w.]*(Error|Exception|Interrupt)\b|mpipipe: error:)")
"""How the last line of a traceback begins, and a line of mpipipe itself."""


class ContestError(MpipipeError):
    """A contestant that died, hangs, talks nonsense, or does not compute what the others do.

    `reason` is one line; `said` the last lines that it wrote on standard error.
    """

    def __init__(self, name: str, what: str, said: Sequence[str] = ()) -> None:
        self.said = tuple(said)
        self.reason = "; ".join([what, *telling_lines(said)[-1:]])
        lines = "".join(f"\n    {line}" for line in said) or " nothing"
        super().__init__(f"contestant '{name}' {what}; the last that it wrote on standard error:{lines}")


def telling_lines(said: Sequence[str]) -> list[str]:
    """Those of the lines that name an error; without any, all that have words in them."""
    named = [line.strip() for line in said if ERROR.search(line)]
    return named or [line.strip() for line in said if re.search(r"\w", line)]


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
    """A started entry. `round_s` are seconds a step of each round; `losses` those of the first steps; `facts` and
    `used` are what it said when it was ready."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.steps = 1
        self.round_s: list[float] = []
        self.losses: list[float] = []
        self.facts: dict[str, Any] = {}
        self.used = Used(ranks=0, threads=0)
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

    def ready(self) -> None:
        """Wait until it is ready, and keep the facts that it says."""
        line = self._answer(WAIT_S)
        word, _, text = line.partition(" ")
        try:
            if word != "ready":
                self._fail(f"said {line!r}")
            self.facts = json.loads(text)
            self.used = from_plain(Used, self.facts.get("used"), "used")
        except (ValueError, UserError):
            self._fail(f"said {line!r}")

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
        raise ContestError(self.entry.name, what, lines[-TAIL:])


def stop_all(contestants: Sequence[Contestant], wait_s: float = END_WAIT_S) -> None:
    """End all of them; one that is at work gets some seconds to finish."""
    for one in contestants:
        one.order("end")
    deadline = time.monotonic() + wait_s
    for one in contestants:
        one.stop(deadline)
