"""What a rank does in one batch: the graphs of its lanes, bound to the functions that do each task and message.

A rank has the lane of its stages, unless it is idle, and on rank 0 those of the source and of the sink. Programs are
made once for every size of batch: a full one, and the smaller last one of an epoch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mpipipe.layers import Array, Scratch
from mpipipe.runtime.crew import Crew, end_ports, forward_schedule, ports_of, training_schedule
from mpipipe.runtime.execute import Program, make_program
from mpipipe.runtime.messages import Transport
from mpipipe.runtime.orders import Order, What
from mpipipe.runtime.source import Source
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.workqueue import Task
from mpipipe.schedule import Graph, Kind, Lowered, Node, Room, sink_graph, source_graph, stage_graph


class Programs:
    """All programs of one rank. `sink` is where outputs arrive when predicting: (at least the batch, *output shape)."""

    def __init__(self, crew: Crew, transport: Transport, stages: Sequence[Stage], source: Source | None) -> None:
        self.crew, self.transport, self.stages, self.source = crew, transport, stages, source
        self.ports, self.ends = [ports_of(crew, stage) for stage in crew.chunks], end_ports(crew)
        self.sink: Array = np.empty((0, *crew.model.shapes[-1]), np.float32)
        self.made: dict[tuple[What, int], Program] = {}

    def of(self, order: Order) -> Program:
        """The program for an order's kind and size of batch."""
        key = (order.what, order.samples)
        if key not in self.made:
            self.made[key] = self._make(order)
        return self.made[key]

    def _make(self, order: Order) -> Program:
        plan = self.crew.plan
        if order.what == What.TRAIN:
            lowered = training_schedule(plan, order.samples)
        else:
            lowered = forward_schedule(plan, order.samples, targets=order.what == What.EVALUATE)
        lanes: list[tuple[Graph, Callable[[Node], Task], Callable[[Node], Callable[[], Any]]]] = []
        if self.source is not None:
            slots = len(self.source.features)
            lanes.append((source_graph(lowered.source, slots), self._source_task, self._source_message))
            lanes.append((sink_graph(lowered.sink), self._source_task, self._sink_message))
        if self.stages:
            lanes.append((self._stage_graph(lowered), partial(self._stage_task, order.what), self._stage_message))
        return make_program(lanes)

    def _stage_graph(self, lowered: Lowered) -> Graph:
        lane = self.crew.plan.lanes.index(self.crew.rank)
        rooms = (Room(len(stage.slots), len(stage.gradient_slots), len(stage.parts)) for stage in self.stages)
        return stage_graph(lowered.lanes[lane], tuple(rooms))

    def _stage_task(self, what: What, node: Node) -> Task:
        stage, micro = self.stages[node.action.chunk], node.action.micro
        match node.action.kind:
            case Kind.F if stage.is_last and what != What.PREDICT:
                return partial(_forward_and_loss, stage, micro)
            case Kind.F:
                return partial(stage.forward, micro)
            case Kind.I:
                return partial(stage.grad_input, micro)
            case _:
                return partial(stage.grad_weight, micro, node.part)

    def _stage_message(self, node: Node) -> Callable[[], Any]:
        link, micro, chunk = self.transport, node.action.micro, node.action.chunk
        stage, ports = self.stages[chunk], self.ports[chunk]
        match node.action.kind:
            case Kind.RECV_ACT:
                return lambda: ports.act_in.receive(link, stage.slot(micro).acts[0], micro)
            case Kind.RECV_TARGET:
                return lambda: ports.target_in.receive(link, stage.slot(micro).target, micro)
            case Kind.SEND_ACT:
                return lambda: ports.act_out.send(link, stage.slot(micro).acts[-1], micro)
            case Kind.SEND_OUT:
                return lambda: ports.out.send(link, stage.slot(micro).acts[-1], micro)
            case Kind.RECV_GRAD:
                return lambda: ports.grad_in.receive(link, stage.gradient_slot(micro).grads[-1], micro)
            case _:
                return lambda: ports.grad_out.send(link, stage.gradient_slot(micro).grads[0], micro)

    def _source_task(self, node: Node) -> Task:
        assert self.source is not None
        return partial(self.source.load, node.action.micro)

    def _source_message(self, node: Node) -> Callable[[], Any]:
        source, ports, link, micro = self.source, self.ends, self.transport, node.action.micro
        assert source is not None
        if node.action.kind == Kind.SEND_DATA:
            return lambda: ports.data_out.send(link, source.x(micro), micro)
        return lambda: ports.target_out.send(link, source.t(micro), micro)

    def _sink_message(self, node: Node) -> Callable[[], Any]:
        rows, micro = self.crew.plan.micro_batch, node.action.micro
        place = slice(micro * rows, (micro + 1) * rows)
        return lambda: self.ends.out_in.receive(self.transport, self.sink[place], micro)


def _forward_and_loss(stage: Stage, micro: int, scratch: Scratch) -> None:
    stage.forward(micro, scratch)
    stage.measure_loss(micro, scratch)
