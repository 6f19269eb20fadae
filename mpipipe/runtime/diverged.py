"""A training that left the finite numbers: what was seen, in which step, and where first."""

import math
from collections.abc import Sequence

from mpipipe.errors import NonFiniteError
from mpipipe.runtime.inbox import Interruption

ADVICE = "a smaller train.learning_rate, train.clip_norm or train.warmup_steps may help"


class DivergedError(Interruption):
    """A stage reported that the loss of a micro-batch is not finite."""

    def __init__(self, micro: int) -> None:
        super().__init__(f"micro-batch {micro}")
        self.micro = micro


def loss_error(step: int, micro: int, bad: Sequence[int], names: Sequence[str]) -> NonFiniteError:
    """Of a loss; `bad` are layers whose output for the micro-batch is not finite."""
    where = f"layer {names[min(bad)]} is the first whose output is not" if bad else "every layer's output is"
    return NonFiniteError(f"step {step + 1}, micro-batch {micro}: the loss is not finite; {where}; {ADVICE}")


def check_gradients(squares: Sequence[float], names: Sequence[str], step: int) -> None:
    """Raises NonFiniteError for the last layer whose sum of squared gradients is not finite."""
    for layer in reversed(range(len(squares))):
        if not math.isfinite(squares[layer]):
            found = f"the gradient of layer {names[layer]} is not finite (the loss still was)"
            raise NonFiniteError(f"step {step + 1}: {found}; {ADVICE}")
