"""From the outputs of a model to its next token: temperature, then the most likely ones only, then a draw.

Source: Holtzman et al. 2020, sections 3.1 (the nucleus, here `top_p`), 5.3 (temperature) and 5.4 (`top_k`).
"""

from dataclasses import dataclass

import numpy as np

from mpipipe.layers.types import Array


@dataclass(frozen=True)
class Sampling:
    """`temperature` divides the outputs, 0 always takes the largest; only the `top_k` most likely tokens are drawn (0:
    all), and of these the smallest set whose probability reaches `top_p`."""

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0


def sample(logits: Array, settings: Sampling, generator: np.random.Generator) -> int:
    """The number of a token, drawn in float64 by the finite `logits` (tokens,). Among equals the first is preferred.

    One number is taken from the generator, none at temperature 0.
    """
    if settings.temperature == 0:
        return int(np.argmax(logits))
    powers = logits.astype(np.float64)
    with np.errstate(over="ignore"):  # to minus infinity, for the largest is 0
        powers = (powers - powers.max()) / settings.temperature
    order = np.argsort(-powers, kind="stable")[: settings.top_k or None]
    reached = np.cumsum(np.exp(powers[order]))
    if settings.top_p < 1:
        reached = reached[: 1 + int(np.searchsorted(reached, settings.top_p * reached[-1]))]
    drawn = np.searchsorted(reached, generator.random() * reached[-1], side="right")
    return int(order[min(int(drawn), len(reached) - 1)])
