"""Reader of text, .gz or not, for models that foretell the next token: a character or a byte.

The text stays one array of token numbers in memory, as narrow as they allow. Samples are windows of it, one after the
other: `context` tokens as features, and for each of them the next one as its target. Nothing is left out: the last
window is filled up with token 0, whose targets are -1, which the loss leaves out of account.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.data.contents import BINARY, EMPTY, TEXT, kind_of, unpacked
from mpipipe.data.table import Found, Table, Wanted
from mpipipe.data.windows import Windows
from mpipipe.errors import DataError

IGNORED = -1
_PIECE = 2**20
_CODES = 0x110000  # characters that Unicode has room for


def read(path: Path, wanted: Wanted) -> Found:
    """The text as windows of tokens; with characters, its `classes` are the text's characters in order.

    Where a trained model's classes are known, characters are numbered by them. Raises DataError for fewer than two
    tokens, bytes that are not UTF-8 (with characters), a character that the model does not know, tokens of another
    kind than it was trained on, and for use as anything but data with labels.
    """
    where = str(path)
    if not wanted.targets:
        raise DataError(where, "a text", "samples to predict", "use: python -m mpipipe generate CHECKPOINT PROMPT")
    if not wanted.labels:
        raise DataError(where, "a text, whose targets are tokens", "values, as model.loss wants", "take another loss")
    if wanted.trained not in (None, wanted.tokens):
        needed = f"{wanted.trained}, as the model was trained on" if wanted.trained else "no text, as in training"
        remedy = f'set data.tokens="{wanted.trained}"' if wanted.trained else ""
        raise DataError(where, f"a text of {wanted.tokens}", needed, remedy)
    content = unpacked(path)
    kind = kind_of(content)
    notices = () if kind in (TEXT, BINARY, EMPTY) else (f"{where}: {kind} by its first bytes; it is learned as it is",)
    classes: tuple[str, ...] = ()
    tokens: NDArray[Any] = np.frombuffer(content, np.uint8)
    if wanted.tokens == "characters":
        text = _decoded(where, content)
        classes = wanted.classes or tuple(sorted(set(text)))
        tokens = numbered(where, text, classes)
    if len(tokens) < 2:
        found = f"holds one {wanted.tokens.removesuffix('s')} only" if len(tokens) else "an empty text"
        raise DataError(where, found, f"at least 2 {wanted.tokens}, one to see and one to foretell")
    x, y = Windows(tokens, wanted.context), Windows(tokens, wanted.context, shift=1, beyond=IGNORED)
    return Found(Table(where, x, y, (wanted.context,)), classes=classes, tokens=wanted.tokens, notices=notices)


def cut(table: Table, windows: int) -> Table:
    """A text's first windows. The last one's last target would be the first token of the rest; so it is ignored."""
    assert isinstance(table.x, Windows) and isinstance(table.y, Windows)
    return Table(table.where, table.x.first(windows), table.y.first(windows), table.shape)


def _decoded(where: str, content: bytes) -> str:
    """The characters, without a byte order mark in front of them."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as reason:
        found = f"its byte {reason.start} (counted from 0), {content[reason.start]:#04x}, is no UTF-8 ({reason.reason})"
        kind = kind_of(content)
        remedy = ("" if kind in (TEXT, BINARY) else f"it is {kind}: ") + 'set data.tokens="bytes", or convert the file'
        raise DataError(where, found, 'text in UTF-8 for data.tokens="characters"', remedy) from None


def numbered(where: str, text: str, classes: Sequence[str]) -> NDArray[Any]:
    """The characters' numbers, piece by piece: codes of four bytes would need more memory than the text.

    Raises DataError naming the first character that is none of the classes.
    """
    numbers = np.full(_CODES, -1, np.int32)
    numbers[[ord(character) for character in classes]] = np.arange(len(classes))
    tokens = np.empty(len(text), np.min_scalar_type(max(0, len(classes) - 1)))
    for begin in range(0, len(text), _PIECE):
        some = numbers[np.frombuffer(text[begin : begin + _PIECE].encode("utf-32-le", "surrogatepass"), "<u4")]
        if some.min() < 0:
            raise _unknown(where, text, begin + int(np.argmin(some)), classes)
        tokens[begin : begin + _PIECE] = some
    return tokens


def _unknown(where: str, text: str, place: int, classes: Sequence[str]) -> DataError:
    line = text.count("\n", 0, place) + 1
    column = place - text.rfind("\n", 0, place)
    known = textwrap.shorten(" ".join(map(repr, classes)), 200, placeholder=" ...")
    found = f"the character {text[place]!r} (line {line}, column {column}), which the model was not trained on"
    remedy = "mend the text, or train on one that has it"
    return DataError(where, found, f"one of its {len(classes)} characters, which are {known}", remedy)
