"""What a contestant computes with, as it and its libraries say themselves once it has started. Imports none of them."""

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Used:
    """Ranks, threads of each, and which libraries compute with which instructions.

    `products` are the libraries that multiply, each with its kernel or instruction set in brackets; `elementwise` is
    the one that does the rest.
    """

    ranks: int
    threads: int
    products: str = ""
    elementwise: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def with_kernel(name: str, kernel: str) -> str:
    """Such as `openblas 0.3.31 (Haswell)`."""
    return f"{name} ({kernel})" if kernel else name


def printed_by(act: Callable[[], object]) -> str:
    """What C libraries print on standard output while `act` runs; standard output itself gets nothing of it."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            act()
        finally:
            flush(None)
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")


MKL = re.compile(
    r"^MKL_VERBOSE oneMKL (?P<version>.*?)(?: Product build \d+)? for .*? architecture (?P<isa>.*?),", re.M
)
ONEDNN_VERSION = re.compile(r"^onednn_verbose,.*info,oneDNN v(?P<version>[\w.]+)", re.M)
ONEDNN_ISA = re.compile(r"^onednn_verbose,.*info,cpu,isa:(?P<isa>.*)$", re.M)


def spoken_versions(text: str) -> dict[str, str]:
    """The versions of MKL and oneDNN, as far as they are in what they print when they are verbose."""
    found = {"MKL": MKL.search(text), "oneDNN": ONEDNN_VERSION.search(text)}
    return {name: match["version"] for name, match in found.items() if match}


def spoken_products(text: str) -> str:
    """MKL and oneDNN with their instruction sets, as they print them. On other makers' CPUs MKL says little."""
    found = {"MKL": MKL.search(text), "oneDNN": ONEDNN_ISA.search(text)}
    sets = {
        name: match["isa"].removesuffix(" processors").removesuffix(" enabled")
        for name, match in found.items()
        if match
    }
    versions = spoken_versions(text)
    return ", ".join(with_kernel(f"{name} {versions.get(name, '')}".strip(), isa) for name, isa in sets.items())
