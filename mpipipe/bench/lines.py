"""The orders that a contestant takes on standard input, one a line: `go STEPS`, answered by `SECONDS LOSS`; and `end`.

First it says `ready`, with facts as JSON. The wait is a blocking read: no core is burnt. It also ends when its input
does, but the mpirun of Open MPI does not pass that on, so the end is said in a word.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

Go = Callable[[int], tuple[float, float]]
"""Does so many steps; the seconds that they took together, and the loss of the last one."""


def obey(facts: Mapping[str, Any], go: Go) -> None:
    """Say that all is ready, then carry out orders until there are no more."""
    _say(f"ready {json.dumps(facts)}")
    for line in sys.stdin:
        word, _, steps = line.strip().partition(" ")
        if word == "end":
            break
        if word != "go":
            raise ValueError(f"an order that nobody knows: {line!r}")
        seconds, loss = go(int(steps))
        _say(f"{seconds!r} {loss!r}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
