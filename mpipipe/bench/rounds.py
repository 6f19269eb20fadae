"""A contest: who takes part, the first steps, and the rounds. Only one contestant works at a time.

One that fails leaves the contest with its reason; the others go on.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from mpipipe.bench.contest import Contestant, ContestError, Entry, stop_all
from mpipipe.bench.progress import Progress

SAME = 1e-3
"""By how much losses may differ, relatively."""
FIRST_STEPS = 3
ROUND_S = 2.0
"""How long a turn takes where --steps does not say."""


@dataclass(frozen=True)
class Failure:
    """A contestant that could not be measured: why, in one line, and the last that it wrote on standard error."""

    name: str
    side: str
    reason: str
    said: tuple[str, ...] = ()


class Contest:
    """Those who take part and those who have failed; a context at whose end no contestant is left running."""

    def __init__(self, model: str, progress: Progress) -> None:
        self.model, self.progress = model, progress
        self.running: list[Contestant] = []
        self.failures: list[Failure] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            stop_all(self.running)
        else:
            with _deaf_to_interrupts():
                stop_all(self.running, 0.0)

    def enter(self, entry: Entry) -> None:
        """Start a contestant and let it do the first steps, whose losses must be those of the others."""
        with self.progress.measuring_start(f"{self.model}: starting {entry.name}"), self._failing(entry):
            one = Contestant(entry)
            self.running.append(one)
            one.ready()
            for _ in range(FIRST_STEPS):
                seconds, loss = one.go(1)
                one.losses.append(loss)
                one.steps = max(1, round(ROUND_S / max(seconds, 1e-6)))
            check_losses(one, self.running)

    def leave_out(self, entry: Entry, reason: str) -> None:
        """Count an entry that cannot even be started as failed."""
        with self.progress.measuring_start(f"{self.model}: {entry.name}: {reason}"):
            self.failures.append(Failure(entry.name, entry.side, reason))

    def run_rounds(self, rounds: int, steps: int) -> None:
        """Let everyone have a turn in each round, in an order that turns round every time. `steps` 0: about 2 s."""
        for number in range(rounds):
            with self.progress.measuring_round(f"{self.model}: round {number + 1} of {rounds}"):
                for one in list(self.running) if number % 2 == 0 else list(reversed(self.running)):
                    if steps and one.entry.side != "ceiling":
                        one.steps = steps
                    with self._failing(one.entry):
                        one.round_s.append(one.go(one.steps)[0] / one.steps)

    @contextmanager
    def _failing(self, entry: Entry) -> Iterator[None]:
        try:
            yield
        except OSError as reason:  # its program cannot be started
            self.failures.append(Failure(entry.name, entry.side, str(reason)))
        except ContestError as error:
            self.failures.append(Failure(entry.name, entry.side, error.reason, error.said))
            failed = [one for one in self.running if one.entry == entry]
            self.running = [one for one in self.running if one.entry != entry]
            stop_all(failed, 0.0)


def check_losses(one: Contestant, others: Sequence[Contestant]) -> None:
    """Raises ContestError where its first losses are not those of the first of the others; the ceiling has none."""
    first = next((other for other in others if other.entry.side != "ceiling"), one)
    if one.entry.side == "ceiling":
        return
    for step, (loss, wanted) in enumerate(zip(one.losses, first.losses, strict=True)):
        if not abs(loss - wanted) <= SAME * abs(wanted):
            what = f"computes something else: the loss of step {step + 1} is {loss:.6g}, but {wanted:.6g} by"
            raise ContestError(one.entry.name, f"{what} '{first.entry.name}'; needed: within {SAME:g} of it")


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A second Ctrl-C, or a TERM, does not keep contestants from being ended."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
