"""How much the long sweeps try: a sample that is the same each time and has every kind of case, or everything.

`pytest --exhaustive` (and `tests/run.sh --exhaustive`) tries everything; conftest.py sets that before tests are read.
"""

from typing import TypeVar

EXHAUSTIVE = False

T = TypeVar("T")


def usual(sample: T, everything: T) -> T:
    """The sample; all there is where an exhaustive run is asked for."""
    return everything if EXHAUSTIVE else sample
