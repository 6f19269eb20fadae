"""`python flipping.py FILE`: damages a checkpoint in every place and by every length, and says what went unnoticed.

In a process of its own: HDF5 may never come back from a damaged file, or crash. FILE.at says how far it came.
"""

import json
import sys
from pathlib import Path

from mpipipe.checkpoint import verify
from mpipipe.errors import CheckpointError

TEXT = 100


def notices(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError as error:
        assert str(path) in str(error) and "\n" not in str(error), error
        return True
    return False


def flips(path: Path, content: bytes):
    """Every bit of the text that a file begins with, and one of every byte behind it."""
    with path.open("r+b", buffering=0) as file:
        for offset, byte in enumerate(content):
            for bit in range(8) if offset < TEXT else [offset % 8]:
                file.seek(offset)
                file.write(bytes([byte ^ (1 << bit)]))
                yield f"bit {bit} of byte {offset}"
            file.seek(offset)
            file.write(bytes([byte]))


def lengths(path: Path, content: bytes):
    """Shorter ones, and longer ones."""
    size = len(content)
    every = {*range(0, 600, 3), *range(600, size, 61), *range(size - 20, size)}
    for length in sorted(every - {size}):
        path.write_bytes(content[:length])
        yield f"cut to {length} bytes"
    for more in (b"\0", b"x" * 512, content):
        path.write_bytes(content + more)
        yield f"{len(more)} bytes more"


def main() -> None:
    path = Path(sys.argv[1])
    content, at, missed, count = path.read_bytes(), path.with_suffix(".at"), [], 0
    assert not notices(path)
    for damage in (flips, lengths):
        for what in damage(path, content):
            at.write_text(what)
            count += 1
            if not notices(path):
                missed.append(what)
        path.write_bytes(content)
        assert not notices(path)
    print(json.dumps({"count": count, "missed": missed}))


if __name__ == "__main__":
    main()
