"""Optimizers: one update of one weight, in place. SGD, Adam and AdamW, as PyTorch defines them.

Work goes in runs of elements that fit a cache. Every element is updated alone, so the runs do not change a bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpipipe.job import TrainSettings
from mpipipe.layers.types import Array, Scratch, Tree, is_running

RUN = 32768


@dataclass(frozen=True)
class Update:
    """What one step's updates share: `step` counts from 1; `scale` multiplies gradients (clipping)."""

    settings: TrainSettings
    step: int
    rate: float
    scale: float


STATE: dict[str, tuple[str, ...]] = {
    "none": (),
    "sgd": ("momentum",),
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
}
"""Names of the arrays, each of the weight's shape, that an optimizer keeps for each weight; 'none' only evaluates."""


def state_names(optimizer: str, path: str) -> tuple[str, ...]:
    """What the optimizer keeps for the weight at `path`: nothing for one that is not trained."""
    return () if is_running(path) else STATE[optimizer]


DECAYS = {"momentum": "momentum", "mean": "beta1", "square": "beta2"}
"""The setting by which each array decays at every step where no gradient comes."""
TINY = float(np.finfo(np.float32).tiny)
"""The least normal number. Smaller ones are slow on many CPUs, and a decay above 0.5 never turns the least into 0."""
CLEAR_EVERY = 16
"""Steps from one clearing of the state to the next; clearing at each would make an update a third longer."""


def clear_below(least: float, array: Array, part: Array) -> None:
    """Set what is nearer to zero than `least` to zero, in place. A CPU flag could do it, for one thread of one host."""
    np.abs(array, out=part)
    np.multiply(array, np.greater_equal(part, least, out=part), out=array)


def update_weight(update: Update, weight: Array, gradient: Array, state: Tree, scratch: Scratch) -> None:
    """One step of the job's optimizer on one weight of any shape, with its `state` arrays of the same shape."""
    rule = RULES[update.settings.optimizer]
    flat = [array.reshape(-1) for array in (weight, gradient, *state.values())]
    for start in range(0, weight.size, RUN):
        p, g, *kept = (array[start : start + RUN] for array in flat)
        mark = scratch.mark()
        scaled = np.multiply(g, update.scale, out=scratch.take(g.shape, g.dtype))
        part = scratch.take(g.shape, g.dtype)
        rule(update, p, scaled, kept, part)
        if update.step % CLEAR_EVERY == 0:
            for name, one in zip(state, kept, strict=True):
                clear_below(_least(getattr(update.settings, DECAYS[name])), one, part)
        scratch.release(mark)


def _least(decay: float) -> float:
    """What would be subnormal before it is looked at again. A decay up to 0.5 makes zeros by itself, in a few steps."""
    return TINY / decay ** (CLEAR_EVERY + 1) if decay > 0.5 else TINY


def _sgd(update: Update, p: Array, g: Array, kept: list[Array], part: Array) -> None:
    """Momentum and L2 decay: v = momentum v + g + decay p; p -= rate v (Sutskever et al. 2013)."""
    (velocity,) = kept
    _decay_into_gradient(update, p, g, part)
    np.multiply(velocity, update.settings.momentum, out=velocity)
    np.add(velocity, g, out=velocity)
    np.multiply(velocity, update.rate, out=part)
    np.subtract(p, part, out=p)


def _adam(update: Update, p: Array, g: Array, kept: list[Array], part: Array) -> None:
    """Adam with L2 decay in the gradient (Kingma and Ba 2015, algorithm 1)."""
    _decay_into_gradient(update, p, g, part)
    _moments(update, p, g, kept, part)


def _adamw(update: Update, p: Array, g: Array, kept: list[Array], part: Array) -> None:
    """Adam with decay apart from the gradient (Loshchilov and Hutter 2019, algorithm 2)."""
    if update.settings.weight_decay:
        np.multiply(p, 1 - update.rate * update.settings.weight_decay, out=p)
    _moments(update, p, g, kept, part)


def _decay_into_gradient(update: Update, p: Array, g: Array, part: Array) -> None:
    if update.settings.weight_decay:
        np.multiply(p, update.settings.weight_decay, out=part)
        np.add(g, part, out=g)


def _moments(update: Update, p: Array, g: Array, kept: list[Array], part: Array) -> None:
    mean, square = kept
    beta1, beta2 = update.settings.beta1, update.settings.beta2
    np.multiply(mean, beta1, out=mean)
    np.add(mean, np.multiply(g, 1 - beta1, out=part), out=mean)
    np.multiply(square, beta2, out=square)
    np.square(g, out=part)
    np.add(square, np.multiply(part, 1 - beta2, out=part), out=square)
    np.sqrt(square, out=part)
    np.multiply(part, 1 / math.sqrt(1 - beta2**update.step), out=part)
    np.add(part, update.settings.epsilon, out=part)
    np.divide(mean, part, out=part)
    np.multiply(part, update.rate / (1 - beta1**update.step), out=part)
    np.subtract(p, part, out=p)


RULES: dict[str, Callable[[Update, Array, Array, list[Array], Array], None]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}


def learning_rate(settings: TrainSettings, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`: linear warm-up, then constant, cosine (to the floor) or steps."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    since, left = step - settings.warmup_steps, max(1, total - settings.warmup_steps)
    if settings.rate_schedule == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, since / left)))
        return settings.rate_floor + (settings.learning_rate - settings.rate_floor) * wave
    if settings.rate_schedule == "step":
        drops = settings.rate_factor ** (since // settings.rate_step)
        return max(settings.rate_floor, settings.learning_rate * drops)
    return settings.learning_rate


def square_sum(gradient: Array) -> float:
    """The sum of squares in float64, from float32 sums along the last axis; for the global norm."""
    rows = gradient.reshape(-1, gradient.shape[-1])
    return float(np.sum(np.vecdot(rows, rows), dtype=np.float64))
