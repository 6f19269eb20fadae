"""Taking in a checkpoint on rank 0 while training goes on: pieces arrive in two buffers, a thread writes them to disk.

The main thread calls `pump` whenever it is idle: it hands a buffer that is full to the writer's thread and lets the
next piece come into a free one. So rank 0 never holds more than two pieces. If the disk fails, the pieces still come
(their owners wait for them to leave) and are thrown away, and `result` raises what the disk said.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mpipipe.checkpoint import Piece
from mpipipe.layers import Array
from mpipipe.runtime.messages import Tag, Transport

BUFFERS = 2
WRITER = "checkpoint"
"""The name of the thread that writes."""
ABANDON_S = 3.0
"""How long an end waits for the piece that is being written."""


class AbandonedError(Exception):
    """The run ended while the checkpoint was on its way."""


class PieceWriter(Protocol):
    """What a checkpoint.Writer offers."""

    def write(self, piece: Piece, array: Array) -> None:
        """Add one piece."""

    def finish(self) -> Path:
        """Make it a checkpoint."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class Collector:
    """One checkpoint on its way in. `owners[i]` is the rank that sends piece i."""

    def __init__(
        self, transport: Transport, every: tuple[Piece, ...], owners: list[int], open_writer: Callable[[], PieceWriter]
    ) -> None:
        self.transport, self.every, self.owners = transport, every, owners
        most = max(int(np.prod(piece.shape)) for piece in every)
        self.free: list[Array] = [np.empty(most, np.float32) for _ in range(BUFFERS)]
        self.coming: list[tuple[int, Array, Any]] = []
        self.next = 0
        self.todo: queue.SimpleQueue[tuple[int, Array] | None] = queue.SimpleQueue()
        self.back: queue.SimpleQueue[Array] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.path: Path | None = None
        self.thread = threading.Thread(target=self._write, args=(open_writer,), name=WRITER, daemon=True)
        self.thread.start()

    def pump(self) -> bool:
        """Move pieces along without waiting. True once all have been handed to the writer's thread."""
        while not self.back.empty():
            self.free.append(self.back.get())
        ended = self.transport.finished([request for _, _, request in self.coming]) if self.coming else []
        for index in sorted(ended, reverse=True):
            number, buffer, _ = self.coming.pop(index)
            self.todo.put((number, buffer))
        while self.free and self.next < len(self.every):
            buffer, number = self.free.pop(), self.next
            size = int(np.prod(self.every[number].shape))
            request = self.transport.receive(buffer[:size], self.owners[number], Tag.PIECE.of(number))
            self.coming.append((number, buffer, request))
            self.next += 1
        if self.next == len(self.every) and not self.coming:
            self.todo.put(None)
            return True
        return False

    @property
    def arrived(self) -> int:
        """How many pieces have come."""
        return self.next - len(self.coming)

    def ended(self) -> bool:
        """Whether the writer's thread has come to its end."""
        return not self.thread.is_alive()

    def result(self) -> Path:
        """The finished checkpoint. Waits for the disk; raises what went wrong there."""
        self.thread.join()
        if self.error is not None:
            raise self.error
        assert self.path is not None
        return self.path

    def abandon(self) -> None:
        """Leave nothing behind, and wait for the writer's thread: were it alive when the interpreter ends, it could
        take HDF5's lock with it, and the end would wait for that lock for ever."""
        self.error = self.error or AbandonedError()
        self.todo.put(None)
        self.thread.join(ABANDON_S)

    def _write(self, open_writer: Callable[[], PieceWriter]) -> None:
        writer: PieceWriter | None = None
        try:
            writer = open_writer() if self.error is None else None
        except BaseException as error:
            self.error = error
        while (item := self.todo.get()) is not None:
            number, buffer = item
            if writer is not None and self.error is None:
                self._try(partial(_write_piece, writer, self.every[number], buffer))
            self.back.put(buffer)
        if writer is not None and self.error is None:
            self._try(partial(self._finish, writer))
        if writer is not None and self.error is not None:
            writer.abandon()

    def _finish(self, writer: PieceWriter) -> None:
        self.path = writer.finish()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            self.error = error


def _write_piece(writer: PieceWriter, piece: Piece, buffer: Array) -> None:
    size = int(np.prod(piece.shape))
    writer.write(piece, buffer[:size].reshape(piece.shape))
