"""Collectives end with an error where a rank is lost, and never wait for ever."""

from types import SimpleNamespace

import pytest

from mpipipe.clock import Clock
from mpipipe.errors import StallError
from mpipipe.runtime.lifeline import Lifeline
from mpipipe.runtime.world import LIMIT_S, LOOK_S, World


class Never:
    """A collective that does not end."""

    def Test(self):  # noqa: N802
        return False


class Later:
    """Time that passes by sleeping only, and a second at each sleep."""

    def __init__(self):
        self.s = 0.0

    def clock(self):
        return Clock(now=lambda: self.s, sleep=self.sleep)

    def sleep(self, seconds):
        self.s += 1.0


class Lost(Lifeline):
    """Knows of a lost rank from a moment on."""

    def __init__(self, later, moment):
        self.later, self.moment = later, moment

    def lost(self):
        return "rank 5 on mini5: its host does not answer; " if self.later.s >= self.moment else ""


def world_of(rank, later):
    comm = SimpleNamespace(rank=rank, size=9, Ibarrier=Never)
    return World(SimpleNamespace(COMM_WORLD=comm, Get_library_version=lambda: "Open MPI v5.0.11, x"), later.clock())


def test_a_rank_that_is_lost_while_starting_is_named():
    later = Later()
    world = world_of(0, later)
    world.lifeline = Lost(later, 40.0)
    with pytest.raises(
        StallError, match=r"^rank 5 on mini5: its host does not answer; waiting for all ranks since 4\d s"
    ):
        world.meet()
    assert later.s <= 40 + 4 * LOOK_S


def test_rank_0_waits_for_a_limited_time_where_nobody_knows_more():
    later = Later()
    with pytest.raises(StallError, match="one of them hangs, or its host was lost"):
        world_of(0, later).meet()
    assert LIMIT_S < later.s < LIMIT_S + 3 * LOOK_S
