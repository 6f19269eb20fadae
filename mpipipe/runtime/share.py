"""What a stage is told: once, which layers are its own and what room it has; and of each batch, how large it is."""

from dataclasses import dataclass

from mpipipe.layers import Model


@dataclass(frozen=True)
class Share:
    """Layers `first` to `last - 1` of the model, and the room for them.

    `threads` is how many F may run at once. Optimizer 'none' only evaluates, and has no gradients.
    """

    model: Model
    first: int
    last: int
    in_flight: int
    gradients: int
    micro_batch: int
    tile_rows: int
    optimizer: str
    seed: int
    recompute: bool
    threads: int


@dataclass(frozen=True)
class Now:
    """The batch at hand: `samples` in all; `step` keys the random draws, and is None when only evaluating."""

    samples: int
    step: int | None
