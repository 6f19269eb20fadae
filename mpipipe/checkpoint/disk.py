"""The file under HDF5 while a checkpoint is written: a full disk becomes an error, not a crash of the library."""

from pathlib import Path
from typing import Any


class Disk:
    """The file under HDF5, which never sees a write fail: the first error is kept for `check`, and nothing is written
    after it. For HDF5 crashes, then or when the process ends, once a write fails while it closes a file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w+b", buffering=0)
        self.error: OSError | None = None

    def check(self) -> None:
        """Raises the first error."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """All of the data, or what the disk took of it."""
        view = memoryview(data).cast("B")
        size, at = len(view), 0
        try:
            while at < size and self.error is None:
                at += self.file.write(view[at:]) or 0
        except OSError as reason:
            self.error = reason
        return size

    def truncate(self, size: int) -> int:
        """To `size` bytes."""
        try:
            return size if self.error else self.file.truncate(size)
        except OSError as reason:
            self.error = reason
            return size

    def read(self, size: int = -1) -> bytes:
        """From where it stands; h5py takes only what can read for a file."""
        return self.file.read(size) or b""

    def readinto(self, buffer: Any) -> int:
        """From where it stands."""
        return self.file.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self.file.tell()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the file."""
        self.file.close()
