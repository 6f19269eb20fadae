"""What a file is by its first bytes, whatever its name says; and its bytes, unpacked where they are gzip'ed.

It knows formats, not readers: `read` chooses the reader, and the readers name what they found in place of their own.
"""

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

HDF5, ZIP, IDX, NPY, GZIP = "HDF5 data", "a zip archive", "IDX data", "a NumPy array (.npy)", "gzip'ed data"
TEXT, UTF16, BINARY, EMPTY = "text", "text in UTF-16", "binary data of no known format", "empty"
DAMAGED = f"{GZIP}, damaged"
PACKED = ", gzip'ed"
_HEAD = 2**12
_MANY = 10_000  # files and folders that are looked at
_SIGNATURES = (  # the more special ones first
    (rb"(?i)(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", "an HTML page"),
    (rb"version https://git-lfs", "a pointer to a file in Git LFS, not the file itself"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", "XML"),
    (rb"\x89HDF\r\n\x1a\n", HDF5),
    (rb"PK(\x03\x04|\x05\x06)", ZIP),
    (rb"\x1f\x8b", GZIP),
    (rb"\x93NUMPY", NPY),
    (rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x08]", IDX),
    (rb"BZh[1-9]", "bzip2'ed data"),
    (rb"\xfd7zXZ\x00", "xz'ed data"),
    (rb"\x28\xb5\x2f\xfd", "zstd'ed data"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb".{257}ustar", "a tar archive"),
    (rb"%PDF-", "a PDF document"),
    (rb"\x89PNG", "a PNG picture"),
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"PAR1", "Parquet data"),
    (rb"ARROW1", "Arrow data"),
    (rb"SQLite format 3\x00", "an SQLite database"),
    (rb"MATLAB 5\.0", "a MATLAB file (before 7.3)"),
    (rb"\x80[\x02-\x05]", "a Python pickle"),
    (rb"\xff\xfe|\xfe\xff", UTF16),
)


def kind_of(head: bytes) -> str:
    """What content that begins so is: one of the names above, TEXT, BINARY, or EMPTY."""
    head = head[:_HEAD]
    if not head:
        return EMPTY
    for pattern, kind in _SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            return kind
    # HDF5 may begin with a block of the user's own, of 512, 1024, 2048 ... bytes
    if any(head.startswith(b"\x89HDF\r\n\x1a\n", 512 << i) for i in range(3)):
        return HDF5
    return TEXT if b"\0" not in head and _is_utf8(head) else BINARY


def kind_of_file(path: Path) -> str:
    """What a file is; of a gzip'ed one, what is in it, with PACKED after it. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = kind_of(head)
    if kind != GZIP:
        return kind
    try:
        with gzip.open(path) as packed:
            return kind_of(packed.read(_HEAD)) + PACKED
    except (OSError, EOFError, ValueError, zlib.error):
        return DAMAGED


def unpacked(path: Path) -> bytes:
    """A file's bytes, unpacked where they are gzip'ed, be it named .gz or not."""
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def files_below(folder: Path, depth: int) -> Iterator[Path]:
    """The files of a folder and, to a depth, of those in it, each folder's own before those of its folders.

    Folders of very many files are looked at in part.
    """
    level, left = [folder], _MANY
    for _ in range(depth):
        entries = list(islice((entry for parent in level for entry in _entries(parent)), left))
        yield from (path for path in entries if path.is_file())
        level, left = [path for path in entries if path.is_dir() and not path.is_symlink()], left - len(entries)


def beside(folder: Path, depth: int = 1, leave_out: Path | None = None) -> str:
    """Some files of a folder, each with what it is, as words for an error message."""
    listed = []
    for path in islice((path for path in files_below(folder, depth) if path != leave_out), 6):
        name = str(path.relative_to(folder))
        try:
            kind = kind_of_file(path)
        except OSError:
            kind = "unreadable"
        listed.append(f"{name if name.isprintable() else repr(name)} ({kind})")
    return ", ".join(listed[:5]) + (" and more" if len(listed) > 5 else "") if listed else "no file"


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in islice(entries, _MANY))
    except OSError:
        return []


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as reason:
        return reason.start >= len(head) - 3 and len(head) == _HEAD  # a character that the end of the head cuts
    return True
