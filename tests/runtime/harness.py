"""A whole training in one process: every rank is a thread, put together as `mpipipe.enlist` does it, without MPI.

Rank 0 plays a story with its conductor, the others serve. Where a rank raises, all others end too, as they do when a
real run is aborted; where a run does not end in time, it is ended and the test fails, saying where each rank was.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from unittest.mock import patch

from threadpoolctl import ThreadpoolController
from virtual_time import VirtualTime

from mpipipe.checkpoint import pieces
from mpipipe.clock import REAL_CLOCK, Clock
from mpipipe.data import Batch, batches, steps_per_epoch
from mpipipe.errors import UserError
from mpipipe.layers import Array
from mpipipe.layers import parts as parts_module
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.crew import CONDUCTOR, Crew, shares_of
from mpipipe.runtime.local import LocalTransport, Mailbox
from mpipipe.runtime.member import Member
from mpipipe.runtime.messages import Transport
from mpipipe.runtime.result import StepResult
from mpipipe.runtime.serve import serve
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.weights import Read, hand_out
from mpipipe.runtime.workqueue import WorkQueue
from mpipipe.schedule import SCHEDULES

from .cases import Case
from .shuffled import SHUFFLED

Story = Callable[[Conductor], Any]
BLAS = ThreadpoolController()


class Abandoned(BaseException):  # noqa: N818
    """Another rank raised, or the time is up."""


class Link:
    """Any transport, until `end` is set: from then on everything raises Abandoned."""

    def __init__(self, inner: Transport, end: threading.Event) -> None:
        self.inner, self.end = inner, end

    def send(self, array: Array, peer: int, tag: int) -> Any:
        return self._inner().send(array, peer, tag)

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        return self._inner().receive(array, peer, tag)

    def finished(self, requests: list[Any]) -> list[int]:
        return self._inner().finished(requests)

    def count(self, request: Any) -> int | None:
        return self._inner().count(request)

    def soon_s(self) -> float:
        return self._inner().soon_s()

    def _inner(self) -> Transport:
        if self.end.is_set():
            raise Abandoned
        return self.inner


@dataclass
class Outcome:
    """What became of a run: rank 0's `value`, exit `statuses` of those that ended well, `errors` in their order."""

    case: Case
    value: Any = None
    statuses: dict[int, int] = field(default_factory=dict)
    errors: dict[int, BaseException] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)

    def weights(self) -> dict[str, Array]:
        """Copies of all weights and optimizer state, gathered from the stages, by their place in a checkpoint."""
        found = {}
        for piece in pieces(self.case.model, self.case.job.train.optimizer):
            owner = self.members[self.case.plan.rank_of(piece.layer)].stage_with(piece.layer)
            found[piece.place] = owner.array(piece.layer, piece.path, piece.state).copy()
        return found


def play(
    case: Case,
    story: Story,
    *,
    read: Read | None = None,
    link: Callable[[LocalTransport], Transport] | None = None,
    tamper: Callable[[Member], None] | None = None,
    parts: dict[int, Callable[[Member], int]] | None = None,
    hopeful: bool = True,
    limit_s: float = 200.0,
    virtual: VirtualTime | None = None,
) -> Outcome:
    """Run all ranks to their end. `hopeful` raises the first error; otherwise they are in the outcome.

    `read` hands out weights, `link` goes around each rank's transport, `tamper` sees every member before it begins,
    `parts` are played by those ranks instead of `serve`. All ranks live by the `virtual` time, if there is one.
    """
    clock = virtual.clock if virtual else REAL_CLOCK
    outcome, mailbox, end = Outcome(case), Mailbox(clock), threading.Event()

    def rank_story(rank: int) -> None:
        try:
            transport: Transport = LocalTransport(mailbox, rank)
            member = enlist(case, rank, Link(link(transport) if link else transport, end), clock)
            outcome.members[rank] = member
            if tamper is not None:
                tamper(member)
            hand_out(member, read if rank == CONDUCTOR else None)
            if rank == CONDUCTOR:
                outcome.value = conduct(member, story)
                outcome.statuses[rank] = 0
            else:
                outcome.statuses[rank] = (parts or {}).get(rank, serve)(member)
        except Abandoned:
            pass
        except BaseException as error:
            outcome.errors[rank] = error
            if not (isinstance(error, UserError) and rank == CONDUCTOR):
                end.set()
        finally:
            if virtual:
                virtual.leave()

    kept, parts_module.PART_FLOPS = parts_module.PART_FLOPS, case.part_flops
    ranks = [threading.Thread(target=rank_story, args=(rank,), daemon=True) for rank in range(case.plan.ranks)]
    try:
        with BLAS.limit(limits=1), patch.dict(SCHEDULES, SHUFFLED):
            for thread in ranks:
                thread.start()
            stuck = wait_for(ranks, limit_s)
            end.set()
            for thread in ranks:
                thread.join(5)
    finally:
        parts_module.PART_FLOPS = kept
        for member in outcome.members.values():
            member.work.close()
    assert not stuck, f"not ended after {limit_s:g} s:\n{stuck}"
    if hopeful and outcome.errors:
        raise next(iter(outcome.errors.values()))
    return outcome


def virtual_time(case: Case) -> VirtualTime:
    """For one run of the case."""
    threads = [Crew(rank, case.plan, case.model, case.job).threads for rank in range(case.plan.ranks)]
    return VirtualTime(len(threads) + sum(threads))


def enlist(case: Case, rank: int, transport: Transport, clock: Clock = REAL_CLOCK) -> Member:
    """One rank, ready to begin."""
    crew = Crew(rank, case.plan, case.model, case.job)
    loss = case.model.loss
    target = loss.target_shape(case.model.shapes[-1])
    plan = case.plan
    source = Source(case.slots, plan.batch, plan.micro_batch, case.shape, target, loss.labels)
    stages = tuple(Stage(share) for share in shares_of(crew))
    return Member(crew, transport, WorkQueue(crew.threads, clock), stages, source if rank == CONDUCTOR else None)


def conduct(member: Member, story: Story) -> Any:
    """Rank 0, as the train command does it: after a user's error all ranks end with its status."""
    conductor = Conductor(member)
    try:
        value = story(conductor)
    except UserError as error:
        conductor.stop(error.status)
        raise
    conductor.stop(0)
    return value


def wait_for(threads: list[threading.Thread], limit_s: float) -> str:
    """Wait until all have ended; where each of those stands that has not."""
    until = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    frames = sys._current_frames()
    return "\n".join(
        f"rank {rank}:\n{''.join(traceback.format_stack(frames[thread.ident])[-6:])}"
        for rank, thread in enumerate(threads)
        if thread.is_alive() and thread.ident in frames
    )


# ---- stories ----------------------------------------------------------------------------------------------------


def some_batches(case: Case, steps: int) -> list[Batch]:
    """`steps` batches, among them the last of one epoch (perhaps a smaller one) and the first of the next."""
    train = case.job.train
    whole = steps_per_epoch(case.count, train.batch)
    offset = max(0, whole - max(1, steps // 2)) * train.batch
    return list(islice(batches(case.count, train.batch, train.seed, 0, offset), steps))


def train(case: Case, steps: int = 4, after: Callable[[Conductor, int], None] | None = None) -> Story:
    """Train some steps; the value is a list of what each gave. `after` is called after every step."""

    def story(conductor: Conductor) -> list[StepResult]:
        results = []
        for step, batch in enumerate(some_batches(case, steps)):
            results.append(conductor.train(batch.rows, case.feed, step, case.job.train.learning_rate / (step + 1)))
            if after is not None:
                after(conductor, step)
        return results

    return story


def numbers(results: list[StepResult]) -> list[tuple[float, float, float]]:
    """What must be the same on every cluster."""
    return [(result.loss, result.accuracy, result.norm) for result in results]
