"""A checkpoint writer without a disk, and ranks that save to it."""

import time
from pathlib import Path

from mpipipe.errors import CheckpointError

from .cases import DEEP, make_case
from .harness import train


class Book:
    """A writer that keeps what it is given. `slow_s` for each call; `fails` at 'open', 'finish' or that piece."""

    def __init__(self, name="book", slow_s=0.0, fails=None, error=None):
        self.name, self.slow_s, self.fails = name, slow_s, fails
        self.error = error or CheckpointError(name, "the disk is full")
        self.pages, self.calls, self.finished, self.abandoned = {}, 0, False, False

    def open(self):
        self._work("open")
        return self

    def write(self, piece, array):
        self._work(len(self.pages))
        assert array.shape == piece.shape and piece.place not in self.pages
        self.pages[piece.place] = array.copy()

    def finish(self):
        self._work("finish")
        self.finished = True
        return Path(self.name)

    def abandon(self):
        self.abandoned = True

    def _work(self, at):
        self.calls += 1
        time.sleep(self.slow_s)
        if at == self.fails:
            raise self.error


def three_ranks(**more):
    return make_case(DEEP, (4,), **{"cuts": (2, 4), "order": (1, 0, 2), "optimizer": "adam", **more})


def train_and_save(case, books):
    """Train four steps; after step s save to `books[s]`, where there is one."""

    def story(conductor):
        results = train(case, after=lambda _, step: conductor.save(books[step].open) if step in books else None)(
            conductor
        )
        conductor.finish_save()
        return results

    return story
