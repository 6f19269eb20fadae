"""What was measured of layers and of links. Plain data, and what is assumed of a link that nobody measured."""

from dataclasses import dataclass, replace

OTHERS = "*"
"""Stands in a cluster file for every other host."""


@dataclass(frozen=True)
class LayerTimes:
    """Seconds of one worker thread with a core of its own, for a full micro-batch, while all threads of the host
    compute.

    `layer` is the layer's signature (layers/model.py); `input_s` is 0 where nobody wants the gradient by its input,
    `weight_s`, the sum over all pieces of W, is 0 where it has no weights. `update_s` is once a batch: the norm of its
    gradients and the optimizer's update; 0 where it was not measured.
    """

    layer: str
    micro_batch: int
    forward_s: float
    input_s: float
    weight_s: float
    update_s: float = 0.0


@dataclass(frozen=True)
class Link:
    """The way between two hosts, or (`first` and `second` alike) between two ranks of one. It has no direction.

    `latency_s` is that of the smallest message, one way; bandwidths are bytes a second, `both_bandwidth` each way
    while both are busy. `second` may be "*": any other host, where no link of the two is there.
    """

    first: str
    second: str
    latency_s: float
    bandwidth: float
    both_bandwidth: float

    def joins(self, one: str, other: str) -> bool:
        """Whether it is the link between these two."""
        return (self.first, self.second) in ((one, other), (other, one))


def scaled(times: LayerTimes, factor: float) -> LayerTimes:
    """All seconds times a factor."""
    return replace(
        times,
        forward_s=times.forward_s * factor,
        input_s=times.input_s * factor,
        weight_s=times.weight_s * factor,
        update_s=times.update_s * factor,
    )


def assumed_link(first: str, second: str) -> Link:
    """A link that nobody measured: gigabit ethernet between hosts, memory within one."""
    if first == second:
        return Link(first, second, 30e-6, 3e9, 3e9)
    return Link(first, second, 200e-6, 117e6, 117e6)


def slower_of(first: str, second: str, parts: tuple[Link, ...]) -> Link:
    """The link of two hosts whose ways to any other host are `parts`: no better than any of them."""
    return Link(
        first,
        second,
        max(part.latency_s for part in parts),
        min(part.bandwidth for part in parts),
        min(part.both_bandwidth for part in parts),
    )
