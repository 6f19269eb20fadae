"""A file is there whole or not at all: written beside its place, synced, renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpipipe.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which takes the place of `path` once the body has written it.

    What stood there stays, and the temporary file goes, when the body fails. OSError comes out as UserError.
    """
    temporary = path.parent / f".{path.name}.tmp"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as reason:
        raise unwritable(path, reason) from reason
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(path: Path) -> None:
    """Raises UserError where `path` could not be written, before time goes into what is to be written there."""
    temporary = path.parent / f".{path.name}.tmp"
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary.touch()
        temporary.unlink(missing_ok=True)
    except OSError as reason:
        raise unwritable(path, reason) from reason


def unwritable(path: Path, reason: OSError) -> UserError:
    """The error of a place that cannot be written."""
    return UserError(
        str(path), f"cannot be written ({reason.strerror or reason})", "a folder with room that you may write"
    )
