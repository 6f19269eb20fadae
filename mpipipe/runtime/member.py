"""One rank at work: it takes orders from rank 0, and does its part of each batch by its program.

A member has one stage or several, its chunks, unless it is idle, and on rank 0 the source of the samples. It is one
class, longer than others, because all that a main thread waits for shares one state: its stages, the messages under
way, and what to look after meanwhile.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mpipipe.checkpoint import pieces
from mpipipe.errors import MpipipeError
from mpipipe.layers import Update
from mpipipe.resources import peak_since
from mpipipe.runtime.crew import CONDUCTOR, Crew
from mpipipe.runtime.execute import execute
from mpipipe.runtime.generating import Generating
from mpipipe.runtime.heartbeat import Heart, Peer
from mpipipe.runtime.inbox import Inbox, Interruption
from mpipipe.runtime.messages import LONG_WAIT_S, SHORT_WAIT_S, Patience, Tag, Transport, wait_all
from mpipipe.runtime.orders import HEAD_SIZE, Order, What, report_array
from mpipipe.runtime.programs import Programs
from mpipipe.runtime.share import Now
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import NonFiniteLossError, Stage
from mpipipe.runtime.tied import swap
from mpipipe.runtime.trace import Teller, compute_seconds
from mpipipe.runtime.workqueue import Task, TaskError, WorkQueue
from mpipipe.schedule import Kind


class ActionError(MpipipeError):
    """A task of this rank raised: stage and action are named, the cause has the traceback."""


LENIENCE = 5
"""Rank 0 hears who is silent and says so; another rank knows only that it waits, and gives up so many times later."""
BUSY_LOOKS = 4
"""With a part of a core only: how many times as long the interval between two looks may get while workers are busy."""
SLOW_STEPS = 10
"""Nothing arrives for some steps' time where a plan has few and long tasks: no stall is sooner than that."""


class Member:
    """See the module. `source` is rank 0's."""

    def __init__(
        self, crew: Crew, transport: Transport, work: WorkQueue, stages: tuple[Stage, ...], source: Source | None
    ) -> None:
        self.transport, self.work, self.source = transport, work, source
        self.adopt(crew, stages)
        self.norm = np.array([0.0, 1.0])
        self.generating: tuple[Generating, ...] = ()
        self.saving: list[Any] = []
        self.busy_before, self.pause_s, self.compute_s = 0.0, 0.0, 0.0
        self.start_bytes = 0
        self.pace_at: Callable[[int], float] = lambda step: 1.0  # that of the work queue; steps are counted from 1
        self.peers: tuple[Peer, ...] = tuple(Peer(rank, "its host", 0) for rank in range(crew.plan.ranks))
        self.silent: Callable[[], str] = str
        self.inbox = None if crew.rank == CONDUCTOR else Inbox(transport, CONDUCTOR)
        self.heart = None if crew.rank == CONDUCTOR else Heart(transport, CONDUCTOR, self.stall_s, work.clock)
        self.idle: Callable[[], None] = self._look_around if self.inbox else lambda: None

    def adopt(self, crew: Crew, stages: tuple[Stage, ...]) -> None:
        """Work by the crew's plan from now on, with these stages."""
        self.crew, self.stages = crew, stages
        self.programs = Programs(crew, self.transport, stages, self.source)
        self.report = report_array(sum(len(stage.layers) for stage in stages))
        self.teller = Teller(self.transport, CONDUCTOR)
        if stages and self.work.threads != crew.threads:
            self.work.close()
            self.work = WorkQueue(crew.threads, self.work.clock)
            self.busy_before = 0.0

    def stage_with(self, layer: int) -> Stage:
        """The one of this rank's stages that holds a layer."""
        return next(stage for stage in self.stages if stage.share.first <= layer < stage.share.last)

    def patience(self, what: str) -> Patience:
        """A fresh patience for one wait. Waits of a place in generating are short, and all of them add up."""
        waits_s = (SHORT_WAIT_S, LONG_WAIT_S)
        if self.look_s > LONG_WAIT_S:
            waits_s = (self.look_s, BUSY_LOOKS * self.look_s)
        elif self.generating:
            waits_s = (SHORT_WAIT_S, SHORT_WAIT_S)
        stall_s = self.stall_s if self.inbox is None else LENIENCE * self.stall_s
        return Patience(stall_s, what, waits_s, self.work.clock, self.silent)

    @property
    def look_s(self) -> float:
        """The longest sleep between two looks at messages while a worker is idle."""
        return max((mine.look_s for mine in self.crew.stage_plans), default=LONG_WAIT_S)

    @property
    def stall_s(self) -> float:
        """Seconds without news after which rank 0 ends the run."""
        return max(self.crew.job.run.stall_s, SLOW_STEPS * self.crew.plan.step_s)

    def _look_around(self) -> None:
        assert self.inbox is not None and self.heart is not None
        self.heart.beat(self.work.in_hand)
        self.inbox.look()

    def wait(self, requests: list[Any], what: str) -> None:
        """Wait for messages, looking after everything else meanwhile."""
        wait_all(self.transport, requests, self.patience(what), self.idle)

    def pause(self, patience: Patience) -> None:
        """Sleep a little in a wait of the caller's own."""
        patience.clock.sleep(patience.next_wait("a message".__str__))

    # ---- orders -------------------------------------------------------------------------------------------------

    def next_order(self) -> Order:
        """Wait for the next order (ranks other than 0)."""
        assert self.inbox is not None and self.heart is not None
        return self.inbox.next(self.patience("waiting for orders of rank 0"), self.heart.beat)

    def obey(self, order: Order) -> None:
        """Carry out an order of rank 0. Raises Overruled, ActionError, or what MPI raises."""
        match order.what:
            case What.TRAIN:
                trouble = self.run_batch(order)
                self.send_report(trouble)
                if trouble < 0:
                    self.update(order, *self.receive_norm())
                    self.tell_times(order)
            case What.EVALUATE | What.PREDICT:
                self.run_batch(order)
                self.send_report(-1)
            case What.GENERATE:
                self.generate(order)
            case What.SAVE:
                self.save()
            case What.DIAGNOSE:
                self.diagnose(order.number)
            case What.STOP:
                self.finish_saving()
                assert self.heart is not None
                self.heart.stop(self.patience("ending"))

    # ---- a batch ------------------------------------------------------------------------------------------------

    def run_batch(self, order: Order) -> int:
        """All of this rank's actions of one batch. The micro-batch whose loss is not finite, or -1."""
        with self._named(f"{order.what.name} of step {order.step + 1}"):
            return self._run_batch(order)

    def _run_batch(self, order: Order) -> int:
        if order.what == What.TRAIN:
            self.work.pace = self.pace_at(order.step + 1)
        for stage in self.stages:
            stage.begin(Now(order.samples, order.step if order.what == What.TRAIN else None))
        try:
            execute(
                self.programs.of(order),
                self.work,
                self.transport,
                self.idle,
                self.patience(self._where()),
                self.look_s,
            )
        except TaskError as error:
            if isinstance(error.__cause__, NonFiniteLossError):
                return error.__cause__.micro
            action = self.programs.of(order).actions[error.key]
            where = "source" if action.kind == Kind.LOAD else f"stage {self.crew.chunks[action.chunk]}"
            raise ActionError(f"{where}, action {action}") from error.__cause__
        self.compute_s = compute_seconds(self.programs.of(order))
        if self.stages and order.what == What.TRAIN:
            self.finish_saving()  # a checkpoint under way takes the weights as they are: update must not come before
            self._join_tied()
            self._run_all(self._norm_tasks())
        return -1

    def _join_tied(self) -> None:
        """Exchange the gradients of a weight that two stages share, both perhaps of this rank, and add them up."""
        tied = [stage.tied for stage in self.stages if stage.tied]
        both = swap(self.transport, tied, self.crew.tied_ranks)
        if both:
            self.wait(both, "exchanging the gradient of the tied weight")
        for one in tied:
            one.join()

    def _norm_tasks(self) -> list[tuple[str, Task]]:
        tasks, at = [], HEAD_SIZE
        for stage in self.stages:
            tasks += stage.norm_tasks(self.report[at : at + len(stage.layers)])
            at += len(stage.layers)
        return tasks

    def send_report(self, trouble: int) -> None:
        """Tell rank 0 how the batch went; idle ranks have nothing to tell."""
        if not self.stages:
            return
        last = self.stages[-1]
        loss, right = math.fsum(last.losses), sum(last.right)  # Python 3.12 changed what sum() rounds
        busy_s, self.busy_before = self.work.busy_s - self.busy_before, self.work.busy_s
        peak = peak_since(self.start_bytes)
        self.report[:HEAD_SIZE] = (trouble, loss, right, busy_s, self.pause_s, self.compute_s, peak)
        self.pause_s = 0.0
        request = self.transport.send(self.report, CONDUCTOR, Tag.REPORT.of(0))
        if self.crew.rank != CONDUCTOR:
            self.wait([request], "sending a report")

    def receive_norm(self) -> tuple[float, float]:
        """The global norm of the gradients and their scale from rank 0, where the job has a use for them."""
        if self.stages and self.crew.wants_norm:
            self.wait([self.transport.receive(self.norm, CONDUCTOR, Tag.NORM.of(0))], "waiting for the gradients' norm")
        norm, scale = self.norm.tolist()
        return norm, scale

    def update(self, order: Order, norm: float, scale: float) -> None:
        """The optimizer's step, with gradients times `scale`; their norm is that after scaling."""
        train = self.crew.job.train
        scale *= min(1.0, train.clip_norm / (norm + 1e-6)) if train.clip_norm else 1.0
        update = Update(train, order.step + 1, order.rate, scale)
        self._run_all([task for stage in self.stages for task in stage.update_tasks(update)])

    def tell_times(self, order: Order) -> None:
        """Tell rank 0 when everything of a full batch was done, if the times of this one are sent."""
        if self.stages and order.samples == self.crew.plan.batch:
            self.teller.tell(self.programs.of(order), self.patience("telling times"))

    def generate(self, order: Order) -> None:
        """Take the stages so many places further along the sequence."""
        if not self.stages:
            return
        places = f"places {order.number} to {order.number + order.samples - 1}"
        with self._named(places):
            if not self.generating:
                each = zip(self.crew.chunks, self.stages, strict=True)
                self.generating = tuple(Generating(self.crew, index, stage) for index, stage in each)
            sent = []
            for stage in self.generating:
                self.wait([stage.receive(self.transport, order)], f"waiting for {places}")
                self._run_all([(places, stage.task(order))])
                sent.append(stage.send(self.transport, order))  # not waited for: the next chunk may be the receiver
            self.wait(sent, f"sending {places}")

    def _run_all(self, tasks: list[tuple[str, Task]]) -> None:
        try:
            self.work.run_all(tasks)
        except TaskError as error:
            raise ActionError(f"{self._where()}, {error.key}") from error.__cause__

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """An exception says where it happened: the cause of an ActionError."""
        try:
            yield
        except (MpipipeError, Interruption):
            raise
        except Exception as error:
            raise ActionError(f"{self._where()}, {doing}") from error

    def _where(self) -> str:
        stages = ", ".join(map(str, self.crew.chunks))
        return f"stage{'s' * (len(self.stages) > 1)} {stages}" if self.stages else "source"

    # ---- saving and diagnosing ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Begin to send every piece of this rank's stages to rank 0, from where it is."""
        crew = self.crew
        for number, piece in enumerate(pieces(crew.model, crew.job.train.optimizer)):
            if crew.plan.rank_of(piece.layer) == crew.rank:
                array = self.stage_with(piece.layer).array(piece.layer, piece.path, piece.state)
                self.saving.append(self.transport.send(array, CONDUCTOR, Tag.PIECE.of(number)))

    def finish_saving(self) -> None:
        """Wait until all pieces have left; the wait is a checkpoint's pause."""
        if self.saving:
            began = self.work.clock.now()
            self.wait(self.saving, "sending a checkpoint")
            self.saving = []
            self.pause_s += self.work.clock.now() - began

    def diagnose(self, micro: int) -> None:
        """Report the first layer of these stages whose output for a micro-batch is not finite, plus 1; 0 if none."""
        if self.stages:
            bad = next((layer for stage in self.stages if (layer := stage.first_bad_layer(micro)) is not None), -1)
            self.report[:HEAD_SIZE] = (bad + 1, *[0] * (HEAD_SIZE - 1))
            request = self.transport.send(self.report, CONDUCTOR, Tag.REPORT.of(1))
            if self.crew.rank != CONDUCTOR:
                self.wait([request], "sending a diagnosis")
