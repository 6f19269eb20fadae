"""A prompt's tokens, and the text that tokens stand for: by the characters, or as bytes, or numbers.

`kind` and `classes` are `tokens` and `classes` of the data that the model was trained on; `vocabulary` is how many
tokens there are to choose from.
"""

from collections.abc import Sequence

import numpy as np

from mpipipe.data.text import numbered
from mpipipe.errors import DataError

WHERE = "PROMPT"


def encode(prompt: str, kind: str, classes: Sequence[str], vocabulary: int) -> list[int]:
    """Numbers of the prompt's tokens, at least one.

    A model that was trained on no text takes whole numbers separated by spaces. Raises DataError naming the first
    token that the model does not have, or for an empty prompt.
    """
    if kind == "characters":
        tokens = numbered(WHERE, prompt, classes).tolist() if prompt else []
    elif kind == "bytes":
        tokens = list(prompt.encode("utf-8", "surrogateescape"))
    else:
        tokens = [_number(word, i, vocabulary) for i, word in enumerate(prompt.split())]
    if not tokens:
        raise DataError(WHERE, "is empty", f"at least one {(kind or 'tokens').removesuffix('s')} to go on from")
    for i, token in enumerate(tokens):
        if token >= vocabulary:
            raise _outside(str(token), i, vocabulary)
    return tokens


def decode(tokens: Sequence[int], kind: str, classes: Sequence[str], first: bool) -> bytes:
    """What stands for some tokens, in UTF-8; numbers are parted by spaces, where not `first` from those before too."""
    if kind == "characters":
        return "".join(classes[token] for token in tokens).encode()
    if kind == "bytes":
        return np.array(tokens, np.uint8).tobytes()
    return (("" if first else " ") + " ".join(map(str, tokens))).encode()


def _number(word: str, place: int, vocabulary: int) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise _outside(f"'{word}'", place, vocabulary)
    return int(word)


def _outside(found: str, place: int, vocabulary: int) -> DataError:
    needed = f"whole numbers from 0 to {vocabulary - 1}, separated by spaces"
    return DataError(WHERE, f"token {found}, number {place + 1} of the prompt", needed)
