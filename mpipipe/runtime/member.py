"""One rank at work: it takes orders from rank 0, and does its part of each batch by its program.

A member has a stage, unless it is idle, and on rank 0 the source of the samples.
"""

import math
import time
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
from mpipipe.runtime.messages import LONG_WAIT_S, SHORT_WAIT_S, Patience, Tag, Transport, wait_all
from mpipipe.runtime.orders import HEAD_SIZE, ORDER_SIZE, Order, What, report_array, unpack_order
from mpipipe.runtime.programs import Programs
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import NonFiniteLossError, Now, Stage
from mpipipe.runtime.tied import Tied
from mpipipe.runtime.workqueue import Task, TaskError, WorkQueue
from mpipipe.schedule import Kind


class ActionError(MpipipeError):
    """A task of this rank raised: stage and action are named, the cause has the traceback."""


class Interruption(Exception):  # noqa: N818
    """Ends what a rank is doing, and is no fault of it."""


class Overruled(Interruption):
    """An order came that puts an end to the one being carried out."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.what.name)
        self.order = order


class Member:
    """See the module. `source` is rank 0's."""

    def __init__(
        self, crew: Crew, transport: Transport, work: WorkQueue, stage: Stage | None, source: Source | None
    ) -> None:
        self.crew, self.transport, self.work, self.stage, self.source = crew, transport, work, stage, source
        self.programs = Programs(crew, transport, stage, source)
        self.report = report_array(len(stage.layers) if stage else 0)
        self.norm = np.array([0.0, 1.0])
        self.generating: Generating | None = None
        self.saving: list[Any] = []
        self.busy_before, self.pause_s = 0.0, 0.0
        self.start_bytes = 0
        self.pace_at: Callable[[int], float] = lambda step: 1.0  # that of the work queue; steps are counted from 1
        self.order_array = np.zeros(ORDER_SIZE)
        self.early_order: Order | None = None
        self.order_request = None if crew.rank == CONDUCTOR else self._expect_order()
        self.idle: Callable[[], None] = self._look_for_order

    def patience(self, what: str) -> Patience:
        """A fresh patience for one wait. Waits of a place in generating are short, and all of them add up."""
        return Patience(self.crew.job.run.stall_s, what, SHORT_WAIT_S if self.generating else LONG_WAIT_S)

    def wait(self, requests: list[Any], what: str) -> None:
        """Wait for messages, looking after everything else meanwhile."""
        wait_all(self.transport, requests, self.patience(what), self.idle)

    def pause(self, patience: Patience) -> None:
        """Sleep a little in a wait of the caller's own."""
        time.sleep(patience.next_wait("a message".__str__))

    # ---- orders -------------------------------------------------------------------------------------------------

    def next_order(self) -> Order:
        """Wait for the next order (ranks other than 0)."""
        if self.early_order is None:
            wait_all(self.transport, [self.order_request], self.patience("waiting for orders of rank 0"))
            return self._take_order()
        order, self.early_order = self.early_order, None
        return order

    def obey(self, order: Order) -> None:
        """Carry out an order of rank 0. Raises Overruled, ActionError, or what MPI raises."""
        match order.what:
            case What.TRAIN:
                trouble = self.run_batch(order)
                self.send_report(trouble)
                if trouble < 0:
                    self.update(order, *self.receive_norm())
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

    def _expect_order(self) -> Any:
        return self.transport.receive(self.order_array, CONDUCTOR, Tag.ORDER.of(0))

    def _take_order(self) -> Order:
        order = unpack_order(self.order_array)
        if order.what != What.STOP:
            self.order_request = self._expect_order()
        return order

    def _look_for_order(self) -> None:
        """Rank 0 may be a step ahead of a slow rank: only DIAGNOSE overrules, any other order waits for its turn."""
        if self.order_request is None or self.early_order or not self.transport.finished([self.order_request]):
            return
        order = self._take_order()
        if order.what == What.DIAGNOSE:
            raise Overruled(order)
        self.early_order = order

    # ---- a batch ------------------------------------------------------------------------------------------------

    def run_batch(self, order: Order) -> int:
        """All of this rank's actions of one batch. The micro-batch whose loss is not finite, or -1."""
        with self._named(f"{order.what.name} of step {order.step + 1}"):
            return self._run_batch(order)

    def _run_batch(self, order: Order) -> int:
        if order.what == What.TRAIN:
            self.work.pace = self.pace_at(order.step + 1)
        if self.stage is not None:
            self.stage.begin(Now(order.samples, order.step if order.what == What.TRAIN else None))
        try:
            execute(self.programs.of(order), self.work, self.transport, self.idle, self.patience(self._where()))
        except TaskError as error:
            if isinstance(error.__cause__, NonFiniteLossError):
                return error.__cause__.micro
            action = self.programs.of(order).actions[error.key]
            where = "source" if action.kind == Kind.LOAD else self._where()
            raise ActionError(f"{where}, action {action}") from error.__cause__
        if self.stage is not None and order.what == What.TRAIN:
            self.finish_saving()  # a checkpoint under way takes the weights as they are: update must not come before
            self._join_tied(self.stage.tied)
            self._run_all(self.stage.norm_tasks(self.report[HEAD_SIZE:]))
        return -1

    def _join_tied(self, tied: Tied | None) -> None:
        """Exchange the gradients of a weight that two stages share, and add them up."""
        ranks = self.crew.tied_ranks
        if tied is None or ranks is None:
            return
        if tied.is_apart:
            peer, tag = ranks[self.crew.rank == ranks[0]], Tag.TIED.of(0)
            both = [self.transport.receive(tied.twin, peer, tag), self.transport.send(tied.gradients[0], peer, tag)]
            self.wait(both, "exchanging the gradient of the tied weight")
        tied.join()

    def send_report(self, trouble: int) -> None:
        """Tell rank 0 how the batch went; idle ranks have nothing to tell."""
        if self.stage is None:
            return
        loss, right = math.fsum(self.stage.losses), sum(self.stage.right)  # Python 3.12 changed what sum() rounds
        busy_s, self.busy_before = self.work.busy_s - self.busy_before, self.work.busy_s
        self.report[:HEAD_SIZE] = (trouble, loss, right, busy_s, self.pause_s, peak_since(self.start_bytes))
        self.pause_s = 0.0
        request = self.transport.send(self.report, CONDUCTOR, Tag.REPORT.of(0))
        if self.crew.rank != CONDUCTOR:
            self.wait([request], "sending a report")

    def receive_norm(self) -> tuple[float, float]:
        """The global norm of the gradients and their scale from rank 0, where the job has a use for them."""
        if self.stage is not None and self.crew.wants_norm:
            self.wait([self.transport.receive(self.norm, CONDUCTOR, Tag.NORM.of(0))], "waiting for the gradients' norm")
        norm, scale = self.norm.tolist()
        return norm, scale

    def update(self, order: Order, norm: float, scale: float) -> None:
        """The optimizer's step, with gradients times `scale`; their norm is that after scaling."""
        if self.stage is None:
            return
        train = self.crew.job.train
        scale *= min(1.0, train.clip_norm / (norm + 1e-6)) if train.clip_norm else 1.0
        self._run_all(self.stage.update_tasks(Update(train, order.step + 1, order.rate, scale)))

    def generate(self, order: Order) -> None:
        """Take the stage so many places further along the sequence."""
        if self.stage is None:
            return
        places = f"places {order.number} to {order.number + order.samples - 1}"
        with self._named(places):
            self.generating = self.generating or Generating(self.crew, self.stage)
            self.wait([self.generating.receive(self.transport, order)], f"waiting for {places}")
            self._run_all([(places, self.generating.task(order))])
            self.wait([self.generating.send(self.transport, order)], f"sending {places}")

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
        return "source" if self.crew.stage is None else f"stage {self.crew.stage}"

    # ---- saving and diagnosing ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Begin to send every piece of this stage to rank 0, from where it is."""
        if self.stage is None:
            return
        share = self.stage.share
        for number, piece in enumerate(pieces(self.crew.model, share.optimizer)):
            if share.first <= piece.layer < share.last:
                array = self.stage.array(piece.layer, piece.path, piece.state)
                self.saving.append(self.transport.send(array, CONDUCTOR, Tag.PIECE.of(number)))

    def finish_saving(self) -> None:
        """Wait until all pieces have left; the wait is a checkpoint's pause."""
        if self.saving:
            began = time.perf_counter()
            self.wait(self.saving, "sending a checkpoint")
            self.saving = []
            self.pause_s += time.perf_counter() - began

    def diagnose(self, micro: int) -> None:
        """Report the first layer of this stage whose output for a micro-batch is not finite, plus 1; 0 if none."""
        if self.stage is not None:
            bad = self.stage.first_bad_layer(micro)
            self.report[:HEAD_SIZE] = (0 if bad is None else bad + 1, 0, 0, 0, 0, 0)
            request = self.transport.send(self.report, CONDUCTOR, Tag.REPORT.of(1))
            if self.crew.rank != CONDUCTOR:
                self.wait([request], "sending a diagnosis")
