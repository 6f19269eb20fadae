"""How much memory this process has taken at the most, from a moment on.

Linux tells, and can be told to forget; elsewhere the most in the whole life of the process has to do.
"""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import psutil

SELF = Path("/proc/self")


def start_peak(place: Path = SELF) -> int:
    """Bytes in memory now; `peak_since` counts from here. What is free already is given back before, where it can be:
    it would be taken again unseen."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        (place / "clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def peak_since(start_bytes: int, place: Path = SELF) -> int:
    """The most bytes in memory at one time since `start_peak`, less those that it gave."""
    try:
        lines = (place / "status").read_text(encoding="ascii", errors="replace").splitlines()
        most = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return max(0, most - start_bytes)
