"""Saving while training goes on: what is written is what stood when the order came, and a bad disk stops nobody."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpipipe.checkpoint import pieces
from mpipipe.errors import CheckpointError, StallError
from mpipipe.runtime.collect import BUFFERS, Collector
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import Tag
from mpipipe.runtime.orders import What

from .cases import DEEP, cases, make_case
from .harness import numbers, play, train
from .hostile import Sea, fates
from .straight import same_bits, straight


class Book:
    """A writer that keeps what it is given. `slow_s` for each call; `fails` at 'open', 'finish' or that piece."""

    def __init__(self, name="book", slow_s=0.0, fails=None, error=None):
        self.name, self.slow_s, self.fails = name, slow_s, fails
        self.error = error or CheckpointError(name, "the disk is full")
        self.pages, self.finished, self.abandoned = {}, False, False

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


@given(cases(), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_pieces_are_the_weights_at_the_time_of_the_order(case, seed):
    """Whatever is late, and although the next step follows at once."""
    history, books = straight(case), {step: Book(f"{step}") for step in (0, 1, 3)}
    assume(np.isfinite(history.numbers).all())
    outcome = play(case, train_and_save(case, books), link=Sea(fates(seed)).link)
    for step, book in books.items():
        same_bits(book.pages, history.everything[step + 1])
        assert book.finished
    assert numbers(outcome.value) == history.numbers


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 3)])
def test_a_slow_disk_delays_but_changes_nothing(order):
    case = three_ranks(order=order)
    history, books = straight(case), {0: Book(slow_s=5e-3), 2: Book(slow_s=5e-3)}
    outcome = play(case, train_and_save(case, books))
    for step, book in books.items():
        same_bits(book.pages, history.everything[step + 1])
    assert numbers(outcome.value) == history.numbers
    pauses = [result.pause_s for result in outcome.value]
    assert pauses[0] == pauses[2] == 0 and pauses[1] > 5e-3 and pauses[3] > 5e-3


def test_evaluating_goes_on_beside_a_slow_save():
    """Nothing that an evaluation does waits for pieces to leave."""
    case, book = three_ranks(), Book(slow_s=20e-3)

    def story(conductor):
        train(case, 1)(conductor)
        conductor.save(book.open)
        conductor.evaluate(np.arange(20), case.feed)
        return len(book.pages)

    outcome = play(case, story)
    assert outcome.value < len(book.pages)


def test_saved_paths_names_each_checkpoint_once():
    case, found = three_ranks(), []

    def after(conductor, step):
        conductor.save(Book(f"{step}").open)
        found.append(conductor.saved_paths())

    def story(conductor):
        train(case, after=after)(conductor)
        conductor.finish_save()
        found.append(conductor.saved_paths())
        return conductor.saved_paths()

    outcome = play(case, story)
    assert [path.name for paths in found for path in paths] == ["0", "1", "2", "3"]
    assert outcome.value == []


def test_two_saves_in_a_row():
    case, books = three_ranks(), [Book("a", slow_s=2e-3), Book("b")]
    history = straight(case, 1)

    def story(conductor):
        train(case, 1)(conductor)
        for book in books:
            conductor.save(book.open)
        conductor.finish_save()
        return conductor.saved_paths()

    assert [path.name for path in play(case, story).value] == ["a", "b"]
    for book in books:
        same_bits(book.pages, history.everything[1])


def test_a_save_before_any_step():
    case, book = three_ranks(), Book()
    play(case, lambda conductor: conductor.save(book.open))
    same_bits(book.pages, straight(case, 0).everything[0])


@pytest.mark.parametrize("slow_s", [0, 10e-3])
def test_a_save_just_before_the_stop_is_written(slow_s):
    """Once `stop` is back, the checkpoint stands, for the process may end."""
    case, book, seen = three_ranks(), Book(slow_s=slow_s), []

    def story(conductor):
        train(case, 1)(conductor)
        conductor.save(book.open)
        conductor.stop(0)
        seen.append(book.finished)
        conductor.stop = lambda status: None
        return conductor.saved_paths()

    assert [path.name for path in play(case, story).value] == ["book"]
    assert seen == [True]
    same_bits(book.pages, straight(case, 1).everything[1])


FAULTS = ["open", 3, "finish"]


@pytest.mark.parametrize("fails", FAULTS)
@pytest.mark.parametrize("how", ["saved_paths", "save", "finish_save"])
def test_the_error_of_a_bad_disk_comes_out_and_all_ranks_end(fails, how):
    case, bad = three_ranks(ranks=4), Book(slow_s=1e-3, fails=fails)

    def after(conductor, step):
        if step == 0:
            conductor.save(bad.open)
        elif how == "saved_paths":
            conductor.saved_paths()
        elif how == "save":
            conductor.save(Book().open)
        else:
            conductor.finish_save()

    outcome = play(case, train(case, 300, after), hopeful=False)
    assert list(outcome.errors) == [0] and outcome.errors[0] is bad.error
    assert outcome.statuses == {1: 2, 2: 2, 3: 2}
    assert not bad.finished


@pytest.mark.parametrize("fails", FAULTS)
def test_a_bad_disk_that_nobody_asks_about_still_lets_all_end(fails):
    case, bad = three_ranks(), Book(fails=fails)

    def story(conductor):
        train(case)(conductor)
        conductor.save(bad.open)

    outcome = play(case, story)
    assert outcome.statuses == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("fails", FAULTS)
def test_training_goes_on_after_a_bad_save(fails):
    """And so does the next save."""
    case, good = three_ranks(), Book("good")
    history = straight(case)

    def after(conductor, step):
        if step == 0:
            conductor.save(Book(fails=fails).open)
            with pytest.raises(CheckpointError, match="the disk is full"):
                conductor.finish_save()
        if step == 1:
            conductor.save(good.open)

    assert numbers(play(case, train(case, after=after)).value) == history.numbers
    same_bits(good.pages, history.everything[2])


@pytest.mark.parametrize("fails", [3, "finish"])
def test_nothing_is_left_behind_whatever_went_wrong(fails):
    """Not every error is one that a writer foresees."""
    case, bad = three_ranks(), Book(fails=fails, error=MemoryError())

    def story(conductor):
        conductor.save(bad.open)
        with pytest.raises(MemoryError):
            conductor.finish_save()

    play(case, story)
    assert bad.abandoned


@pytest.mark.parametrize("slow_s", [0, 10e-3])
@pytest.mark.parametrize("fails", [None, "open"])
def test_a_save_that_is_abandoned_leaves_nothing(slow_s, fails):
    """In the midst of it, and whether or not it had gone wrong by then."""
    case, book = three_ranks(), Book(slow_s=slow_s, fails=fails)

    def story(conductor):
        train(case, 1)(conductor)
        conductor.save(book.open)
        conductor.abandon_save()
        assert conductor.collector.ended()
        raise InterruptedError

    outcome = play(case, story, hopeful=False)
    assert isinstance(outcome.errors[0], InterruptedError)
    assert not book.finished and (book.abandoned or not book.pages)


@pytest.mark.parametrize("wait", ["finish_save", "stop", "train"])
def test_a_rank_that_never_sends_its_pieces_is_a_stall(wait):
    case = make_case(DEEP, (4,), cuts=(3,), stall_s=0.2)

    def deaf_to_save(member):
        while (order := member.next_order()).what != What.SAVE:
            member.obey(order)
        while True:
            member.transport.finished([])
            time.sleep(1e-2)

    def story(conductor):
        train(case, 1)(conductor)
        conductor.save(Book().open)
        match wait:
            case "finish_save":
                conductor.finish_save()
            case "stop":
                conductor.stop(0)
            case _:
                train(case, 1)(conductor)

    outcome = play(case, story, parts={1: deaf_to_save}, hopeful=False, limit_s=2)
    assert isinstance(outcome.errors[0], StallError)


# ---- the collector alone ----------------------------------------------------------------------------------------


def test_rank_0_holds_two_pieces_at_most():
    """All pieces are offered; no more are taken than there are buffers until the disk has had one."""
    case, gate, mailbox = three_ranks(), threading.Event(), Mailbox()
    every = pieces(case.model, case.job.train.optimizer)
    here, there = LocalTransport(mailbox, 0), LocalTransport(mailbox, 1)
    book = Book()
    write = book.write
    book.write = lambda piece, array: (gate.wait(5), write(piece, array))
    sent = [
        there.send(np.full(piece.shape, number, np.float32), 0, Tag.PIECE.of(number))
        for number, piece in enumerate(every)
    ]
    collector = Collector(here, every, [1] * len(every), book.open)
    for _ in range(20):
        assert not collector.pump()
        time.sleep(1e-3)
    assert sum(request.done for request in sent) == BUFFERS
    gate.set()
    while not collector.pump():
        time.sleep(1e-4)
    assert collector.result() == Path("book") and collector.ended()
    assert [book.pages[piece.place].flat[0] for piece in every] == list(range(len(every)))
