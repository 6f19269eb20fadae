"""Watching the ranks: is a host slower, or faster again, than it was planned for, and has it been for a while?

What is watched is work, not waiting: the seconds that a rank's workers were busy in a step, over those that the plan
foretold. One step says little (a timer tick, a page written out), so the median of a window is taken, and a rank
counts as changed only when all of that window says so. After each decision the watch starts anew, and waits longer
after one that led to nothing: so it does not dither.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median

WINDOW = 8
"""Steps that have to agree."""
CHANGED = 1.15
"""A rank that takes so many times as long as it was known to, or as little, has changed."""
LONGEST_REST = 512
"""Steps between two looks at the most, once nothing was found worth while again and again."""


class Watch:
    """`known` are the ranks' seconds over those planned, as the plan at hand reckons with them: 1 where it has no
    better to go by."""

    def __init__(self, planned_s: Mapping[int, float], known: Mapping[int, float] | None = None) -> None:
        self.planned_s = dict(planned_s)
        self.known = dict(known or {})
        self.seen: dict[int, deque[float]] = {rank: deque(maxlen=WINDOW) for rank in planned_s}
        self.rest = WINDOW
        self.resting = WINDOW

    def add(self, busy_s: Mapping[int, float]) -> None:
        """The busy seconds of each rank in one full step."""
        self.resting = max(0, self.resting - 1)
        for rank, seconds in busy_s.items():
            if self.planned_s.get(rank, 0) > 0:
                self.seen[rank].append(seconds / self.planned_s[rank])
        if not self.known and all(len(each) == WINDOW for each in self.seen.values()):
            self.known = self.measured()

    def measured(self) -> dict[int, float]:
        """Each rank's seconds over those planned, by the median of the window."""
        return {rank: median(each) for rank, each in self.seen.items() if each}

    def changed(self) -> list[int]:
        """Ranks that all of the window found slower, or all of it found faster, than is known."""
        if self.resting or not self.known:
            return []
        return [rank for rank, each in self.seen.items() if self._differs(each, self.known.get(rank, 1.0))]

    def _differs(self, each: Sequence[float], known: float) -> bool:
        if len(each) < WINDOW:
            return False
        return min(each) > known * CHANGED or max(each) < known / CHANGED

    def leave(self) -> None:
        """Nothing was worth while: take what is measured as known, and look again only after a longer rest."""
        self.rest = min(LONGEST_REST, 2 * self.rest)
        self.resting = self.rest
        self.known = self.measured()
