"""Saving while training goes on: what is written is what stood when the order came."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpipipe.checkpoint import pieces
from mpipipe.runtime.collect import Collector
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.messages import Tag

from .book import Book, three_ranks, train_and_save
from .cases import cases
from .harness import numbers, play, train
from .hostile import Sea, fates
from .straight import same_bits, straight


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
    assert sum(request.done for request in sent) == 2
    gate.set()
    while not collector.pump():
        time.sleep(1e-4)
    assert collector.result() == Path("book") and collector.ended()
    assert [book.pages[piece.place].flat[0] for piece in every] == list(range(len(every)))
