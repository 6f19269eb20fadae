"""What rank 0 tells every rank to do next, and what a rank reports back: both one small float64 array."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mpipipe.layers import Array

ORDER_SIZE = 5
HEAD_SIZE = 7
"""Numbers of a report before its layers' sums of squared gradients."""


class What(IntEnum):
    """The orders."""

    TRAIN = 1
    EVALUATE = 2
    PREDICT = 3
    SAVE = 4
    DIAGNOSE = 5
    STOP = 6
    GENERATE = 7
    MOVE = 8
    CLOCK = 9


@dataclass(frozen=True)
class Order:
    """`samples` of the batch at hand, or places given to generate; `step` from 0 and learning `rate` in training;
    `number` is the micro-batch to diagnose, the exit status to stop with, the place where those given
    start, or the bytes of a new plan."""

    what: What
    samples: int = 0
    step: int = 0
    rate: float = 0.0
    number: int = 0


@dataclass(frozen=True)
class Report:
    """A rank's batch: `trouble` is the micro-batch whose loss is not finite (or -1), `loss` and `right` are sums over
    samples (of the last stage only), `busy_s` worker seconds and `pause_s` seconds waited for a checkpoint, both since
    the last report; `compute_s` worker seconds of F, I and W in this batch; `peak_bytes` the most memory taken since
    the rank began to make its stage; `squares` the sum of squared gradients of each layer."""

    trouble: int
    loss: float
    right: int
    busy_s: float
    pause_s: float
    compute_s: float
    peak_bytes: int
    squares: tuple[float, ...]


def pack_order(order: Order, into: Array) -> None:
    """Write an order into an array of ORDER_SIZE."""
    into[:] = (order.what, order.samples, order.step, order.rate, order.number)


def unpack_order(array: Array) -> Order:
    """Read it back."""
    what, samples, step, rate, number = array.tolist()
    return Order(What(int(what)), int(samples), int(step), rate, int(number))


def report_array(layers: int) -> Array:
    """Room for the report of a rank with so many layers."""
    return np.zeros(HEAD_SIZE + layers)


def unpack_report(array: Array) -> Report:
    """Read a report: (trouble, loss, right, busy, pause, compute, peak, squares...)."""
    trouble, loss, right, busy_s, pause_s, compute_s, peak, *squares = array.tolist()
    return Report(int(trouble), loss, int(right), busy_s, pause_s, compute_s, int(peak), tuple(squares))
