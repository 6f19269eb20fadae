"""The window, on rank 0: the last tokens of one growing sequence, as many as the model sees, and what follows them."""

from collections.abc import Sequence

import numpy as np

from mpipipe.layers import Array
from mpipipe.runtime.conduct import Conductor
from mpipipe.runtime.generating import window_ports
from mpipipe.runtime.orders import Order, What
from mpipipe.runtime.slots import DTYPE


class Window:
    """One sequence. Every stage keeps what it needs of the places before, so a token more is one place more.

    Once all places are taken the window slides: the last half of its tokens is run again, from place 0.
    """

    def __init__(self, conductor: Conductor) -> None:
        self.member, self.order, crew = conductor.member, conductor.order, conductor.crew
        self.context, self.ports = crew.model.shapes[0][0], window_ports(crew)
        self.tokens: list[int] = []
        self.x = np.zeros(self.context, DTYPE)
        self.outputs = np.zeros((1, *crew.model.shapes[-1][1:]), DTYPE)

    def add(self, tokens: Sequence[int]) -> Array:
        """The outputs (tokens,) of the model after some tokens more, at least one; valid until the next call."""
        start = len(self.tokens)
        self.tokens += tokens
        if len(self.tokens) > self.context:
            kept = max(1, self.context // 2) if start else self.context
            start, self.tokens = 0, self.tokens[-kept:]
        places = len(self.tokens) - start
        self.x[:places] = self.tokens[start:]
        self._run(Order(What.GENERATE, samples=places, number=start))
        outputs: Array = self.outputs[0]
        return outputs

    def _run(self, order: Order) -> None:
        transport = self.member.transport
        requests = [
            self.ports.outputs_in.receive(transport, self.outputs, 0),
            self.ports.tokens_out.send(transport, self.x[: order.samples], 0),
        ]
        self.order(order)
        self.member.generate(order)
        self.member.wait(requests, "waiting for the model's outputs")
