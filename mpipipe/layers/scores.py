"""The inside of causal attention: from queries, keys and values to the heads' outputs, and back.

Arrays are (samples, groups, heads of a group, places, features); keys and values have one head a group. Queries are
taken in runs of RUN places, each with the keys up to its own last one, so that little is computed for keys that come
later. Scores are kept transposed, (keys, queries), so that the softmax runs along rows, and are not divided by their
sums: the division is made on the features of each head instead of on all keys.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpipipe.layers.types import Array, Scratch, Shapes, Tree

RUN = 64


def runs(places: int) -> Iterator[tuple[str, int, int]]:
    """Name, first query and last query + 1 (which is the number of keys) of every run."""
    for i, first in enumerate(range(0, places, RUN)):
        yield f"{i:03d}", first, min(first + RUN, places)


def power_shapes(groups: int, heads: int, places: int) -> Shapes:
    """Shapes of the exponentials of all runs, for a sample."""
    return {name: (groups, heads, keys, keys - first) for name, first, keys in runs(places)}


def attend(q: Array, k: Array, v: Array, powers: Tree, inverse: Array, out: Array) -> None:
    """Out, with `powers` of all runs and `inverse` (samples, groups, heads, 1, places), 1 / their sums over keys."""
    for name, first, keys in runs(q.shape[-2]):
        at = slice(first, keys)
        attend_run(q[..., at, :], k[..., :keys, :], v[..., :keys, :], powers[name], inverse[..., at], out[..., at, :])


def attend_run(q: Array, k: Array, v: Array, powers: Array, inverse: Array, out: Array) -> None:
    """One run: exp(k q^T - its maximum over keys), 0 for keys that come later; v by these, divided by their sums.

    The queries are those of the last keys.
    """
    count = q.shape[-2]
    np.matmul(k, q.swapaxes(-1, -2), out=powers)
    latest = powers[..., -count:, :]
    np.add(latest, _later(count, q.dtype.str), out=latest)
    np.max(powers, axis=-2, keepdims=True, out=inverse)
    np.subtract(powers, inverse, out=powers)
    np.exp(powers, out=powers)
    np.sum(powers, axis=-2, keepdims=True, out=inverse)
    np.divide(1, inverse, out=inverse)
    np.matmul(powers.swapaxes(-1, -2), v, out=out)
    np.multiply(out, inverse.swapaxes(-1, -2), out=out)


def attend_back(
    qkv: tuple[Array, Array, Array],
    powers: Tree,
    dot: Array,
    d: Array,
    dqkv: tuple[Array, Array, Array],
    scratch: Scratch,
) -> None:
    """Gradients by q, k and v from d = dout / sums and dot = d . out (..., places).

    dv = powers d, dscores = powers (v d^T - dot), dq = dscores^T k, dk = dscores q. The sum over keys that the slope of
    a softmax has is one over features, dot (Dao et al. 2022, appendix B.2).
    """
    (q, k, v), (dq, dk, dv) = qkv, dqkv
    # The last run has all keys, so it writes the sums that the others add to.
    for name, first, keys in reversed(list(runs(q.shape[-2]))):
        at, mark, last = slice(first, keys), scratch.mark(), keys == q.shape[-2]
        slopes = scratch.take(powers[name].shape, d.dtype)
        np.matmul(v[..., :keys, :], d[..., at, :].swapaxes(-1, -2), out=slopes)
        np.subtract(slopes, dot[..., None, at], out=slopes)
        np.multiply(slopes, powers[name], out=slopes)
        np.matmul(slopes.swapaxes(-1, -2), k[..., :keys, :], out=dq[..., at, :])
        _sum_heads(powers[name], d[..., at, :], dv[..., :keys, :], last, scratch)
        _sum_heads(slopes, q[..., at, :], dk[..., :keys, :], last, scratch)
        scratch.release(mark)


def _sum_heads(left: Array, right: Array, total: Array, first: bool, scratch: Scratch) -> None:
    """total (+)= left @ right, summed over the heads that share keys and values."""
    heads = left.shape[2]
    if first and heads == 1:
        np.matmul(left, right, out=total)
        return
    mark = scratch.mark()
    each = np.matmul(left, right, out=scratch.take((*left.shape[:-1], right.shape[-1]), right.dtype))
    if first:
        np.sum(each, axis=2, keepdims=True, out=total)
    else:
        for head in range(heads):
            np.add(total, each[:, :, head : head + 1], out=total)
    scratch.release(mark)


@lru_cache(64)
def _later(places: int, dtype: str) -> NDArray[Any]:
    """(keys, queries): minus infinity where the key comes after the query, else 0."""
    return np.where(np.arange(places)[:, None] > np.arange(places), -np.inf, 0.0).astype(dtype)
