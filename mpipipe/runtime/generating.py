"""Generating: a stage taken some places further along one sequence, with what it keeps of the places before.

Its arrays are those of the stage's first slot, of which the first sample's first places are used; only the caches are
made besides. Places travel as (places, ...), from the last stage the outputs of the last place alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from mpipipe.layers import Scratch, cache_shapes, extend, make_tree
from mpipipe.runtime.crew import CONDUCTOR, Crew
from mpipipe.runtime.messages import Port, Tag, Transport, port
from mpipipe.runtime.orders import Order
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.stage import Stage
from mpipipe.runtime.workqueue import Task


@dataclass(frozen=True)
class PlacePorts:
    """Where places come in and go out at this rank's stage, where rank 0 sends tokens and where it gets outputs."""

    places_in: Port
    places_out: Port
    tokens_out: Port
    outputs_in: Port


def place_ports(crew: Crew) -> PlacePorts:
    """Ports by the plan, for up to as many places as the model's sequences have."""
    stages, shapes, s = crew.plan.stages, crew.model.shapes, crew.stage or 0
    context = shapes[0][0]

    def places(peer: int, boundary: int) -> Port:
        return port(peer, Tag.ACT, context, shapes[boundary][1:], DTYPE)

    def outputs(peer: int) -> Port:
        return port(peer, Tag.OUT, 1, shapes[-1][1:], DTYPE)

    return PlacePorts(
        places_in=places(stages[s - 1].rank if s else CONDUCTOR, stages[s].first),
        places_out=places(stages[s + 1].rank, stages[s].last) if s + 1 < len(stages) else outputs(CONDUCTOR),
        tokens_out=places(crew.first_rank, 0),
        outputs_in=outputs(crew.last_rank),
    )


class Generating:
    """One stage. The caches are made with it: MemoryError where that cannot be had."""

    def __init__(self, crew: Crew, stage: Stage) -> None:
        self.stage, self.ports = stage, place_ports(crew)
        self.acts = stage.slots[0].acts
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
