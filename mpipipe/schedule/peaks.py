"""What a schedule needs room for: the most activations and gradients of micro-batches at one time in each chunk."""

from collections.abc import Sequence

from mpipipe.schedule.actions import Kind, Lane, Placement, lane_of


def peaks(lane: Lane, chunk: int = 0) -> tuple[int, int]:
    """The most micro-batches between the start of F and the end of W, and between the start of I and the end of W."""
    activations = gradients = most_activations = most_gradients = 0
    for action in lane:
        if action.chunk != chunk:
            continue
        if action.kind == Kind.F:
            activations += 1
        if action.kind in (Kind.I, Kind.B):
            gradients += 1
        most_activations, most_gradients = max(most_activations, activations), max(most_gradients, gradients)
        if action.kind in (Kind.W, Kind.B):
            activations, gradients = activations - 1, gradients - 1
    return most_activations, most_gradients


def stage_peaks(lanes: Sequence[Lane], placement: Placement) -> list[tuple[int, int]]:
    """The same for every stage."""
    return [peaks(lanes[lane], chunk) for lane, chunk in lane_of(placement)]
