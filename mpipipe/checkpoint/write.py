"""Writing: piece by piece into a temporary file, which is synced and renamed once it is whole."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from mpipipe.checkpoint.disk import Disk
from mpipipe.checkpoint.layout import BLOCK, FORMAT, RANDOM_KEYS, VERSION, Facts, Piece
from mpipipe.errors import CheckpointError
from mpipipe.layers import Array
from mpipipe.records import to_plain

SPARE = 1 << 16
"""Bytes that a file needs besides its arrays, at least."""


class Writer:
    """One checkpoint being written. Until `finish`, only the temporary file exists; `abandon` removes it.

    Raises CheckpointError where the folder has no room, or cannot be written to.
    """

    def __init__(self, path: Path, facts: Facts, scaling: dict[str, Array], pieces: Sequence[Piece]) -> None:
        self.path, self.temporary = path, path.with_suffix(".tmp")
        needed = sum(4 * int(np.prod(piece.shape)) + 1024 for piece in pieces) + SPARE
        try:
            self._check_room(needed)
            self._disk = Disk(self.temporary)
            self._file = h5py.File(self._disk, "w", userblock_size=BLOCK)
            self._write_facts(facts)
            for name, array in scaling.items():
                self._put(f"/scaling/{name}", array)
            self._disk.check()
        except (OSError, RuntimeError) as reason:
            raise self._failed(reason) from reason

    def write(self, piece: Piece, array: Array) -> None:
        """Add one piece. Raises CheckpointError, and leaves nothing behind."""
        try:
            self._put(piece.place, array)
            self._disk.check()
        except (OSError, RuntimeError, ValueError) as reason:
            raise self._failed(reason) from reason

    def finish(self) -> Path:
        """Seal, sync and rename; the path of the finished checkpoint."""
        try:
            self._file.close()
            self._disk.check()
            self._disk.close()
            _seal(self.temporary)
            self.temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except (OSError, RuntimeError) as reason:
            raise self._failed(reason) from reason
        return self.path

    def abandon(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(Exception):
            self._file.close()
        with contextlib.suppress(Exception):
            self._disk.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink()

    def _check_room(self, needed: int) -> None:
        disk = shutil.disk_usage(self.path.parent)
        free = disk.free
        if disk.total and free < needed:  # some file systems do not tell their size
            raise CheckpointError(
                str(self.path),
                f"{free:,} bytes are free on the disk",
                f"about {needed:,} bytes for this checkpoint",
                "what was saved before is kept; make room, or give another --out",
            )

    def _write_facts(self, facts: Facts) -> None:
        attributes = self._file.attrs
        attributes["format"], attributes["version"] = FORMAT, VERSION
        position = facts.position
        attributes["step"], attributes["epoch"], attributes["offset"] = position.step, position.epoch, position.offset
        attributes["seed"], attributes["random_keys"] = facts.seed, RANDOM_KEYS
        attributes["job"], attributes["plan"], attributes["versions"] = facts.job, facts.plan, facts.versions
        attributes["data"] = json.dumps(to_plain(facts.data))

    def _put(self, place: str, array: Array) -> None:
        data = self._file.create_dataset(place, data=array)
        data.attrs["sha256"] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()

    def _failed(self, reason: Exception) -> CheckpointError:
        self.abandon()
        remedy = "what was saved before is kept; make room, or give another --out"
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else " ".join(str(reason).split())
        return CheckpointError(str(self.path), f"cannot be written ({why})", "a folder with room", remedy)


def digest(path: Path) -> str:
    """The SHA-256 of all that follows the user block, read in pieces."""
    with path.open("rb") as file:
        file.seek(BLOCK)
        return hashlib.file_digest(file, "sha256").hexdigest()


def block_text(sha256: str) -> bytes:
    """The whole user block."""
    return f"{FORMAT} {VERSION}\nsha256 {sha256}\n".encode().ljust(BLOCK, b"\0")


def _seal(path: Path) -> None:
    block = block_text(digest(path))
    with path.open("r+b") as file:
        file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the new name outlast a loss of power, where the file system can: not all can sync a folder, nor may everybody
    open one, and the checkpoint is whole either way."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
