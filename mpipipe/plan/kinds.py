"""Kinds of hosts, and the multisets of them that a pipeline's later stages may have used, level by level."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.problem import Problem

Kinds = tuple[tuple[int, ...], ...]
"""Hosts that are alike in everything that a plan looks at, kind by kind."""


@dataclass(frozen=True)
class Level:
    """States with one more host used than on the level before. `before[u]` are, for kind u, places on this level and
    the places on the level before from which one more host of that kind leads there. `counts` (states, kinds)."""

    counts: Array
    before: tuple[tuple[Array, Array], ...]


def group_hosts(problem: Problem) -> Kinds:
    """Hosts of one kind have the same seconds, threads, memory, and links to every other host."""
    kinds: list[list[int]] = []
    for host in range(problem.hosts):
        for kind in kinds:
            if all(alike(problem, host, other) for other in kind) and _like_pairs(problem, kind, host):
                kind.append(host)
                break
        else:
            kinds.append([host])
    return tuple(map(tuple, kinds))


def orders_of(kinds: Kinds, count: int) -> Iterator[tuple[int, ...]]:
    """All orders of so many hosts; of hosts of one kind the first ones, in their own order."""
    if not count:
        yield ()
        return
    for k, kind in enumerate(kinds):
        if kind:
            for after in orders_of((*kinds[:k], kind[1:], *kinds[k + 1 :]), count - 1):
                yield kind[0], *after


def count_orders(kinds: Kinds, most: int) -> list[int]:
    """How many orders there are of 0 to `most` hosts."""
    found = [1] + [0] * most
    for kind in kinds:
        found = [
            sum(math.comb(n, taken) * found[n - taken] for taken in range(min(n, len(kind)) + 1))
            for n in range(most + 1)
        ]
    return found


def alike(problem: Problem, a: int, b: int) -> bool:
    """Whether two hosts may change places in any plan and nothing else changes."""
    rows = (problem.forward_s, problem.input_s, problem.weight_s, problem.threads, problem.room_bytes)
    if any((table[a] != table[b]).any() for table in rows):
        return False
    others = [h for h in range(problem.hosts) if h not in (a, b)]
    for links in (problem.latency_s, problem.bandwidth):
        if (links[a, others] != links[b, others]).any() or (links[others, a] != links[others, b]).any():
            return False
        if links[a, b] != links[b, a]:
            return False
    return True


def _like_pairs(problem: Problem, kind: Sequence[int], host: int) -> bool:
    """Whether all pairs within the kind are linked alike."""
    if len(kind) < 2:
        return True
    a, b = kind[:2]
    return all(
        problem.latency_s[other, host] == problem.latency_s[a, b]
        and problem.bandwidth[other, host] == problem.bandwidth[a, b]
        for other in kind
    )


def count_states(sizes: Sequence[int]) -> int:
    """How many multisets there are."""
    return math.prod(size + 1 for size in sizes)


def multisets(sizes: Sequence[int], most: int) -> list[Level]:
    """Every multiset of kinds of up to `most` hosts; level n uses n."""
    radix = np.concatenate([[1], np.cumprod([size + 1 for size in sizes])])
    numbers = np.arange(radix[-1])
    counts = np.stack([numbers // radix[u] % (size + 1) for u, size in enumerate(sizes)], axis=1)
    used = counts.sum(axis=1)
    place = np.empty(len(numbers), np.intp)
    levels: list[Level] = []
    for n in range(min(most, sum(sizes)) + 1):
        here = numbers[used == n]
        place[here] = np.arange(len(here))
        before = []
        for u in range(len(sizes)):
            to = here[counts[here, u] > 0]
            before.append((place[to], place[to - radix[u]] if n else to))
        levels.append(Level(counts[here], tuple(before)))
    return levels


def one_order(order: Sequence[int], kinds: int) -> list[Level]:
    """The levels of a fixed order of kinds, first stage first: one state each."""
    counts = np.zeros((1, kinds), np.intp)
    nothing = (np.empty(0, np.intp), np.empty(0, np.intp))
    levels = [Level(counts, (nothing,) * kinds)]
    for kind in reversed(order):
        counts = counts.copy()
        counts[0, kind] += 1
        step = (np.zeros(1, np.intp), np.zeros(1, np.intp))
        levels.append(Level(counts, tuple(step if u == kind else nothing for u in range(kinds))))
    return levels
