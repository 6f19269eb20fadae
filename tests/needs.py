"""What some tests need of the machine. Where it is missing, a test says so aloud, and fails where CI is set."""

import contextlib
import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Fail under CI; elsewhere warn, and skip the test."""
    if os.environ.get("CI"):
        pytest.fail(what)
    warnings.warn(f"NOT TESTED: {what}", stacklevel=2)
    pytest.skip(what)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size (such as `400k`) in a new folder, which only root can have, and not in every container."""
    if os.geteuid() != 0:
        missing("a small disk, which only root can mount")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", size if "=" in size else f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("a small disk, which cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
