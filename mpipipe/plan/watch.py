"""Watching the hosts: is one slower, or faster again, than it was planned for, and has it been for a while?

What is watched is work, not waiting: the seconds that the workers of a host's ranks were busy in a step, over those
that the plan predicts. One step says little (a timer tick, a page written out), so the median of a window is taken, and
a host counts as changed only when all of that window says so. In the first window a plan may be wrong by some factor
for all hosts alike, which no other plan would mend; but where it is wrong for one host and right for others, that host
counts as changed, too. After each decision the watch starts anew, and waits longer after one that led to nothing.
"""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import Generic, TypeVar

Host = TypeVar("Host", bound=Hashable)

WINDOW = 8
"""Steps that have to agree."""
CHANGED = 1.25
"""A host that takes so many times as long as it was known to, or as little, has changed. On quiet hosts the median of a
window stays within 1.1 of that of another."""
CONTRADICTED = 1.3
"""A plan whose first window is off by so much more for one host than for most is wrong about that host."""
LONGEST_REST = 512
"""Steps between two looks at the most, once nothing was found worth while again and again."""


class Watch(Generic[Host]):
    """`known` are the hosts' seconds over those planned, as the plan at hand has them: 1 once it was made from what was
    measured in the run. Without it, the first window tells. A host under a CPU quota stands still now and then, in the
    midst of a task or between two: any time from `planned_s` to `most_s` is as planned there."""

    def __init__(
        self,
        planned_s: Mapping[Host, float],
        known: Mapping[Host, float] | None = None,
        most_s: Mapping[Host, float] | None = None,
    ) -> None:
        self.planned_s = dict(planned_s)
        self.most_s = self.planned_s | dict(most_s or {})
        self.known = dict(known or {})
        self.seen: dict[Host, deque[float]] = {host: deque(maxlen=WINDOW) for host in planned_s}
        self.rest = WINDOW
        self.resting = WINDOW

    def add(self, busy_s: Mapping[Host, float]) -> None:
        """The busy seconds of each host in one full step."""
        self.resting = max(0, self.resting - 1)
        for host, seconds in busy_s.items():
            if self.planned_s.get(host, 0) > 0:
                as_planned = min(max(seconds, self.planned_s[host]), self.most_s[host])
                self.seen[host].append(seconds / as_planned)
        if not self.known and self.seen and all(len(each) == WINDOW for each in self.seen.values()):
            measured = self.measured()
            usual = median(measured.values())
            contradicted = any(_differs(each, usual, CONTRADICTED) for each in self.seen.values())
            self.known = dict.fromkeys(measured, usual) if contradicted else measured

    def measured(self) -> dict[Host, float]:
        """Each host's seconds over those planned, by the median of the window."""
        return {host: median(each) for host, each in self.seen.items() if each}

    def changed(self) -> list[Host]:
        """Hosts that all of the window found slower, or all of it found faster, than is known."""
        if self.resting or not self.known:
            return []
        return [host for host, each in self.seen.items() if _differs(each, self.known.get(host, 1.0), CHANGED)]

    def leave(self) -> None:
        """Nothing was worth while: take what is measured as known, and look again only after a longer rest."""
        self.rest = min(LONGEST_REST, 2 * self.rest)
        self.resting = self.rest
        self.known = self.measured()


def _differs(each: Sequence[float], known: float, times: float) -> bool:
    return len(each) == WINDOW and (min(each) > known * times or max(each) < known / times)
