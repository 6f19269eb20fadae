"""A weight that two layers share, the embedding's and the unembedding's: the copies of it that one stage holds.

Before each update, both copies get the sum of both gradients: of two terms, so that the order does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpipipe.layers import Array, Model, Tree, touched
from mpipipe.runtime.messages import Tag, Transport


@dataclass(frozen=True)
class Tied:
    """Gradients of copy number `copy`, or of both. `twin` is where that of the other one arrives, if it is apart."""

    copy: int
    gradients: tuple[Array, ...]
    twin: Array

    @property
    def is_apart(self) -> bool:
        """Whether the other copy is on another stage."""
        return len(self.gradients) == 1

    def join(self) -> None:
        """Give every copy that is here the sum."""
        here = self.gradients[0]
        other = self.twin if self.is_apart else self.gradients[1]
        np.add(here, other, out=here)
        if not self.is_apart:
            np.copyto(other, here)


def swap(transport: Transport, tied: Sequence[Tied], ranks: tuple[int, int] | None) -> list[Any]:
    """Begin to exchange the gradients of copies that are apart, perhaps both of this rank; `ranks` hold the two."""
    both: list[Any] = []
    for one in tied:
        if one.is_apart and ranks is not None:
            mine, other = one.copy, 1 - one.copy
            both.append(transport.receive(one.twin, ranks[other], Tag.TIED.of(other)))
            both.append(transport.send(one.gradients[0], ranks[other], Tag.TIED.of(mine)))
    return both


def make_tied(model: Model, first: int, gradients: Sequence[Tree]) -> Tied | None:
    """Of the stage with layers `first` and on, which have these gradients; None where it holds no copy."""
    held = {copy: layer - first for copy, layer in enumerate(model.tied or ())}
    mine = {copy: gradients[i]["weight"] for copy, i in held.items() if 0 <= i < len(gradients) and gradients[i]}
    if not mine:
        return None
    copy, gradient = next(iter(mine.items()))
    twin = touched(gradient.shape if len(mine) == 1 else (0,), gradient.dtype)
    return Tied(copy, tuple(mine.values()), twin)
