"""Handing out the weights: rank 0 sends every piece to its owner, one by one; an empty message says: draw your own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mpipipe.checkpoint import Piece, pieces
from mpipipe.layers import Array
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.member import Member
from mpipipe.runtime.messages import MessageError, Tag, wait_all

Read = Callable[[Piece], Array]
"""Gives the array of a piece, from a checkpoint."""


def hand_out(member: Member, read: Read | None) -> None:
    """Every rank calls this. On rank 0, `read` reads a checkpoint's pieces; None where there is none.

    Rank 0 holds one piece at a time besides its own stage.
    """
    crew = member.crew
    every = pieces(crew.model, crew.job.train.optimizer)
    expected = _expect(member, every)
    if crew.rank == CONDUCTOR:
        for number, piece in enumerate(every):
            _send(member, number, piece, read)
    drawn: set[int] = set()
    for piece, request in expected:
        if not _arrived(member, piece, request):
            drawn.add(piece.layer)
    for layer in sorted(drawn):
        member.stage_with(layer).initialise(layer)


def _expect(member: Member, every: tuple[Piece, ...]) -> list[tuple[Piece, Any]]:
    crew = member.crew
    return [
        (piece, member.transport.receive(_place(member, piece), CONDUCTOR, Tag.PIECE.of(number)))
        for number, piece in enumerate(every)
        if crew.plan.rank_of(piece.layer) == crew.rank
    ]


def _arrived(member: Member, piece: Piece, request: Any) -> bool:
    """Wait for a piece: True for a whole array, False for an empty message. Raises MessageError for anything else."""
    patience = member.patience(f"waiting for {piece.place}")
    size = _place(member, piece).nbytes
    while (count := member.transport.count(request)) is None:
        member.pause(patience)
    if count not in (0, size):
        raise MessageError(f"{piece.place}: {count} bytes came from rank 0; needed: {size}, or none")
    return count > 0


def _send(member: Member, number: int, piece: Piece, read: Read | None) -> None:
    """Send a piece to its owner and wait until it has left. Raises MessageError for another shape than the piece's."""
    array = np.empty(0, np.float32) if read is None else np.ascontiguousarray(read(piece), np.float32)
    if read is not None and array.shape != piece.shape:
        raise MessageError(f"{piece.place}: an array of shape {array.shape} was read; needed: {piece.shape}")
    request = member.transport.send(array, member.crew.plan.rank_of(piece.layer), Tag.PIECE.of(number))
    wait_all(member.transport, [request], member.patience("handing out weights"))


def _place(member: Member, piece: Piece) -> Array:
    return member.stage_with(piece.layer).array(piece.layer, piece.path, piece.state)
