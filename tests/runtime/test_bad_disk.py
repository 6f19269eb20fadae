"""A bad disk, or a rank that keeps its pieces back, ends a save with an error, and stops nobody for ever."""

import pytest

from mpipipe.checkpoint import pieces
from mpipipe.errors import CheckpointError, StallError
from mpipipe.runtime.orders import What

from .book import Book, three_ranks
from .cases import DEEP, linear, make_case
from .harness import numbers, play, train, virtual_time
from .straight import same_bits, straight

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
    every = len(pieces(case.model, "adam"))
    assert bad.calls == {"open": 1, 3: 1 + 3 + 1, "finish": 1 + every + 1}[fails], (
        "nothing is asked of a bad disk again"
    )


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
            member.work.clock.sleep(1e-2)

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

    outcome = play(case, story, parts={1: deaf_to_save}, hopeful=False, virtual=virtual_time(case))
    assert isinstance(outcome.errors[0], StallError)


def test_a_disk_that_takes_longer_than_a_stall_is_none():
    """Rank 0 knows that it waits for its own disk, and for nobody else."""
    case, book = make_case([linear(3)], (4,), stall_s=0.1), Book(slow_s=0.15)

    def story(conductor):
        conductor.save(book.open)
        conductor.finish_save()

    play(case, story)
    assert book.finished
