"""Where orders of rank 0 come in: one at a time, and perhaps one ahead of its turn."""

from collections.abc import Callable

import numpy as np

from mpipipe.runtime.messages import Patience, Tag, Transport, wait_all
from mpipipe.runtime.orders import ORDER_SIZE, Order, What, unpack_order

LOOKS = 8
"""Of so many calls of `look` one asks MPI: orders are rarely early, and asking takes as long as all else in a wait."""


class Interruption(Exception):  # noqa: N818
    """Ends what a rank is doing, and is no fault of it."""


class Overruled(Interruption):
    """An order came that puts an end to the one being carried out."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.what.name)
        self.order = order


class Inbox:
    """Orders from rank `conductor`."""

    def __init__(self, transport: Transport, conductor: int) -> None:
        self.transport, self.conductor = transport, conductor
        self.array = np.zeros(ORDER_SIZE)
        self.early: Order | None = None
        self.looks = 0
        self._expect()

    def next(self, patience: Patience, idle: Callable[[], None] | None = None) -> Order:
        """Wait for the next order; call `idle` between looks."""
        if self.early is None:
            wait_all(self.transport, [self.request], patience, idle)
            return self._take()
        order, self.early = self.early, None
        return order

    def look(self) -> None:
        """Rank 0 may be a step ahead of a slow rank: only DIAGNOSE overrules, any other order waits for its turn."""
        self.looks += 1
        if self.looks % LOOKS or self.request is None or self.early or not self.transport.finished([self.request]):
            return
        order = self._take()
        if order.what == What.DIAGNOSE:
            raise Overruled(order)
        self.early = order

    def _expect(self) -> None:
        self.request = self.transport.receive(self.array, self.conductor, Tag.ORDER.of(0))

    def _take(self) -> Order:
        order, self.request = unpack_order(self.array), None
        if order.what != What.STOP:
            self._expect()
        return order
