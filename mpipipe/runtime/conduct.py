"""Rank 0 conducting: it gives the orders, feeds the pipeline, gathers what came of each batch, and saves.

Rank 0 is a member like any other and may hold any stages or none; conducting is what it does besides. It is one class,
longer than others, because batches, orders and a checkpoint under way are pumped by the same waits.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpipipe.checkpoint import pieces
from mpipipe.errors import NonFiniteError
from mpipipe.layers import Array
from mpipipe.plan import Plan
from mpipipe.report import warn
from mpipipe.report.timeline import Clocks
from mpipipe.runtime.collect import Collector, PieceWriter
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.diverged import DivergedError, check_gradients, loss_error
from mpipipe.runtime.heartbeat import Peer, Watch
from mpipipe.runtime.member import Member
from mpipipe.runtime.messages import Tag, wait_all
from mpipipe.runtime.move import move, plan_bytes, send_plan
from mpipipe.runtime.orders import ORDER_SIZE, Order, Report, What, pack_order, report_array, unpack_report
from mpipipe.runtime.result import StepResult, last_report, layer_squares, sum_up
from mpipipe.runtime.source import Feed
from mpipipe.runtime.trace import MOST_CLOCKS, Listener, ask_clocks


class Conductor:
    """See the module. Orders go to all ranks; reports come from those with stages, in the order of `Plan.lanes`."""

    def __init__(self, member: Member) -> None:
        self.member, self.transport = member, member.transport
        self.others = [rank for rank in range(member.crew.plan.ranks) if rank != CONDUCTOR]
        peers = [member.peers[rank] for rank in self.others]
        self.named: Callable[[list[Peer]], None] = lambda peers: None
        """Told of all ranks with their stages, at every change of plan."""
        self.watch = Watch(self.transport, peers, member.stall_s, warn, member.work.clock)
        self._take_over()
        self.expected: list[Any] = []
        self.last_report: Any = None
        self.collector: Collector | None = None
        self.all_in = False
        self.saved: list[Path] = []
        self.pieces = pieces(self.crew.model, self.crew.job.train.optimizer)
        self.clocks: list[Clocks] = []
        member.idle, member.silent = self._look_around, self.watch.silent

    def _take_over(self) -> None:
        """Know the member's plan, now that it has another."""
        self.crew = self.member.crew
        self.plan = self.crew.plan
        self.peers = [replace(peer, stages=self.plan.stages_of(peer.rank)) for peer in self.member.peers]
        self.watch.name([self.peers[rank] for rank in self.others], self.plan.step_s)
        self.named(self.peers)
        self.listener = Listener(self.transport, self.plan.lanes)
        self.arrays = [
            report_array(sum(self.plan.stages[stage].last - self.plan.stages[stage].first for stage in held))
            for held in self.plan.placement
        ]
        self.last = self.plan.lanes.index(self.crew.last_rank)

    def move(self, plan: Plan) -> None:
        """Let all ranks work by another plan from the next step on; a checkpoint under way is finished first."""
        self.finish_save()
        self.order(Order(What.MOVE, number=plan_bytes(plan)))
        send_plan(self.member, plan, self.others)
        move(self.member, plan)
        self._take_over()

    def compare_clocks(self) -> None:
        """Ask every rank for the time, between two steps. Twice or more, and what clocks drift is known too."""
        self.order(Order(What.CLOCK))
        ahead = ask_clocks(self.transport, self.others, self.member.patience("asking the time"))
        if len(self.clocks) == MOST_CLOCKS:
            del self.clocks[1::2]
        self.clocks.append(Clocks(self.member.work.clock.now(), ahead))

    # ---- batches ------------------------------------------------------------------------------------------------

    def train(self, rows: Array, feed: Feed, step: int, rate: float) -> StepResult:
        """One batch and one update. Raises NonFiniteError naming step and layer."""
        began = self.member.work.clock.now()
        order = Order(What.TRAIN, samples=len(rows), step=step, rate=rate)
        self._begin(order, rows, feed, targets=True)
        try:
            trouble = self.member.run_batch(order)
            if trouble >= 0:
                raise DivergedError(trouble)
            self.member.send_report(-1)
            reports = self._reports()
        except DivergedError as error:
            raise self._diagnose(step, error.micro) from None
        counted = self._counted()
        # Stages took every target for one that counts; the sum is linear, so what that was wrong by is made good here.
        scale = len(rows) * self.crew.model.targets / max(1, counted)
        norm = self._norm(reports, step) * scale
        self._tell_norm(norm, scale)
        self.member.update(order, norm, scale)
        result = sum_up(reports, self.plan, counted, norm, self.member.work.clock.now() - began)
        self.member.tell_times(order)
        if len(rows) == self.plan.batch:
            self.listener.hear(step + 1, self.member.patience("hearing times"))
        return result

    def evaluate(self, rows: Array, feed: Feed) -> tuple[float, int, int]:
        """Over the rows: the sum of losses, how many predictions were right, and of how many targets that count."""
        loss, right, counted, batch = 0.0, 0, 0, self.plan.batch
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            reports = self._forward(Order(What.EVALUATE, samples=len(part)), part, feed, targets=True)
            last = last_report(reports, self.plan)
            loss, right = loss + last.loss, right + last.right
            counted += self._counted()
        return loss, right, counted

    def predict(self, rows: Array, feed: Feed) -> Array:
        """Outputs (n, *shape) of at most a batch of rows; valid until the next call."""
        programs = self.member.programs
        if len(programs.sink) < len(rows):
            programs.sink = np.empty((self.plan.batch, *self.crew.model.shapes[-1]), np.float32)
        self._forward(Order(What.PREDICT, samples=len(rows)), rows, feed, targets=False)
        return programs.sink[: len(rows)]

    def _forward(self, order: Order, rows: Array, feed: Feed, targets: bool) -> list[Report]:
        self._begin(order, rows, feed, targets)
        self.member.run_batch(order)
        self.member.send_report(-1)
        return self._reports()

    def _begin(self, order: Order, rows: Array, feed: Feed, targets: bool) -> None:
        assert self.member.source is not None
        self.member.source.begin(rows, feed, targets)
        self.order(order)
        self.expected = self._receive_reports(0)
        self.last_report = self.expected[self.last] if self.crew.last_rank != CONDUCTOR else None

    def _receive_reports(self, number: int) -> list[Any]:
        return [
            self.transport.receive(array, rank, Tag.REPORT.of(number))
            for array, rank in zip(self.arrays, self.plan.lanes, strict=True)
        ]

    def _reports(self) -> list[Report]:
        """The last stage's first: where its loss is not finite, the others' never come."""
        others, last = list(self.expected), self.expected[self.last]
        del others[self.last]
        self.last_report = None  # from here on it is waited for, so nobody else may test it
        if last is not None:
            self.member.wait([last], "waiting for the last stage's report")
            self._check_trouble()
        self.member.wait(others, "waiting for reports")
        return [unpack_report(array) for array in self.arrays]

    def _check_trouble(self) -> None:
        trouble = unpack_report(self.arrays[self.last]).trouble
        if trouble >= 0:
            raise DivergedError(trouble)

    def _norm(self, reports: list[Report], step: int) -> float:
        """Square sums added in layer order, whatever the cut. Raises NonFiniteError naming the layer."""
        squares = layer_squares(reports, self.plan)
        check_gradients(squares, self.crew.model.names, step)
        return math.sqrt(math.fsum(squares))

    def _counted(self) -> int:
        assert self.member.source is not None
        return self.member.source.counted()

    def _tell_norm(self, norm: float, scale: float) -> None:
        if not self.crew.wants_norm:
            return
        array = np.array([norm, scale])
        ranks = [rank for rank in self.plan.lanes if rank != CONDUCTOR]
        requests = [self.transport.send(array, rank, Tag.NORM.of(0)) for rank in ranks]
        self.member.wait(requests, "sending the gradients' norm")

    # ---- orders -------------------------------------------------------------------------------------------------

    def order(self, order: Order) -> None:
        """Tell all other ranks what to do next."""
        array = np.zeros(ORDER_SIZE)
        pack_order(order, array)
        requests = [self.transport.send(array, rank, Tag.ORDER.of(0)) for rank in self.others]
        wait_all(self.transport, requests, self.member.patience("giving orders"), self._pump)

    def stop(self, status: int) -> None:
        """End every rank with this exit status, once a checkpoint on its way is written."""
        self._wait_for_pieces()
        self.member.finish_saving()
        if self.collector is not None:
            self.collector.thread.join()
        self.order(Order(What.STOP, number=status))
        self.watch.close(self.member.patience("ending"))

    def abandon_save(self) -> None:
        """End a checkpoint under way, for this rank is about to end without another word to the others."""
        if self.collector is not None:
            self.collector.abandon()

    def _diagnose(self, step: int, micro: int) -> NonFiniteError:
        self.last_report = None
        self.order(Order(What.DIAGNOSE, number=micro))
        requests = self._receive_reports(1)
        self.member.diagnose(micro)
        wait_all(self.transport, requests, self.member.patience("waiting for diagnoses"))
        bad = [int(array[0]) - 1 for array in self.arrays if array[0] > 0]
        return loss_error(step, micro, bad, self.crew.model.names)

    def _look_around(self) -> None:
        self._pump()
        if self.last_report is not None and self.transport.finished([self.last_report]):
            self.expected[self.last] = self.last_report = None
            self._check_trouble()

    # ---- saving -------------------------------------------------------------------------------------------------

    def save(self, open_writer: Callable[[], PieceWriter]) -> None:
        """Begin a checkpoint of the weights as they are now, after one under way. Raises CheckpointError."""
        self.finish_save()
        owners = [self.plan.rank_of(piece.layer) for piece in self.pieces]
        self.collector, self.all_in = Collector(self.transport, self.pieces, owners, open_writer), False
        self.order(Order(What.SAVE))
        self.member.save()

    def saved_paths(self) -> list[Path]:
        """Checkpoints finished since the last call. Raises CheckpointError where the disk failed."""
        if self.collector is not None and self.all_in and self.collector.ended():
            self.finish_save()
        done, self.saved = self.saved, []
        return done

    def finish_save(self) -> None:
        """Wait for a checkpoint under way. Raises CheckpointError."""
        if self.collector is None:
            return
        self._wait_for_pieces()
        self.member.finish_saving()
        collector, self.collector = self.collector, None
        self.saved.append(collector.result())

    def _wait_for_pieces(self) -> None:
        """Until all pieces of a checkpoint under way are here. Raises StallError where a rank keeps them back."""
        patience = self.member.patience("saving")
        while self.collector is not None and not self.all_in:
            before = self.collector.arrived
            self._pump()
            if self.collector.arrived > before or not self.collector.coming:
                patience.renew()  # something came, or all buffers are with the disk, which may take its time
            patience.clock.sleep(patience.next_wait("pieces of a checkpoint".__str__))

    def _pump(self) -> None:
        self.watch.look()
        if self.collector is not None and not self.all_in:
            self.all_in = self.collector.pump()
