"""Generating: a stage taken some places further along one sequence, with what it keeps of the places before.

Its arrays are those of one micro-batch of the stage, of which the first sample's first places are used; only the caches
are made besides. Places travel as (places, ...), from the last stage the outputs of the last place alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from mpipipe.layers import Scratch, cache_shapes, extend, make_tree
from mpipipe.runtime.crew import CONDUCTOR, Crew, place_of
from mpipipe.runtime.messages import Port, Tag, Transport, port
from mpipipe.runtime.orders import Order
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.workqueue import Task


@dataclass(frozen=True)
class PlacePorts:
    """Where places come in at a stage, and where they go out."""

    places_in: Port
    places_out: Port


@dataclass(frozen=True)
class WindowPorts:
    """Where rank 0 sends tokens, and where it gets outputs."""

    tokens_out: Port
    outputs_in: Port


def place_ports(crew: Crew, stage: int) -> PlacePorts:
    """Ports of one of this rank's stages by the plan."""
    stages, mine = crew.plan.stages, crew.plan.stages[stage]
    return PlacePorts(
        places_in=_places(crew, stages[stage - 1].rank if stage else CONDUCTOR, stage, mine.first),
        places_out=_places(crew, stages[stage + 1].rank, stage + 1, mine.last)
        if stage + 1 < len(stages)
        else _outputs(crew, CONDUCTOR),
    )


def window_ports(crew: Crew) -> WindowPorts:
    """Ports of rank 0 by the plan."""
    return WindowPorts(_places(crew, crew.first_rank, 0, 0), _outputs(crew, crew.last_rank))


def _places(crew: Crew, peer: int, receiver: int, layer: int) -> Port:
    """For up to as many places as the model's sequences have."""
    shapes = crew.model.shapes
    return port(peer, Tag.ACT, shapes[0][0], shapes[layer][1:], DTYPE, place_of(crew.plan, receiver))


def _outputs(crew: Crew, peer: int) -> Port:
    return port(peer, Tag.OUT, 1, crew.model.shapes[-1][1:], DTYPE)


class Generating:
    """One of this rank's stages. The caches are made with it: MemoryError where that cannot be had."""

    def __init__(self, crew: Crew, index: int, stage: Stage) -> None:
        self.stage, self.ports = stage, place_ports(crew, index)
        self.acts = stage.spare_acts()
        each = zip(stage.layers, stage.shapes, strict=False)
        self.caches = [make_tree(cache_shapes(layer, at), DTYPE, 1) for layer, at in each]

    def receive(self, transport: Transport, order: Order) -> Any:
        """Begin to receive the places of an order."""
        return self.ports.places_in.receive(transport, self.acts[0][0, : order.samples], 0)

    def task(self, order: Order) -> Task:
        """All layers, for the places of an order."""
        return partial(self._extend, order.samples, order.number)

    def send(self, transport: Transport, order: Order) -> Any:
        """Begin to send them on."""
        first = order.samples - 1 if self.stage.is_last else 0
        return self.ports.places_out.send(transport, self.acts[-1][0, first : order.samples], 0)

    def _extend(self, places: int, start: int, scratch: Scratch) -> None:
        arrays = [array[:1, :places] for array in self.acts]
        for i, layer in enumerate(self.stage.layers):
            extend(layer, self.stage.weights[i], arrays[i], arrays[i + 1], self.caches[i], start, scratch)
            scratch.release(0)
