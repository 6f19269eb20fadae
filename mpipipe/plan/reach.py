"""The recurrence: for a bound on the slowest stage, link and round trip, the least seconds of one micro-batch's way.

Stages are built from the last to the first. g(S, u, i) is the least way, there and back, from layer i to the end by
hosts of the kinds S, the first of them of kind u:

    g(S, u, i) = min over j of  t_u(i..j) + min over v of { 2 c_uv(j) + g(S - u, v, j) }

over all j for which the stage fits u's memory and its period, the link's and RT / K are within the bound. RT of the
new stage is g itself, so a shorter way never breaks what a longer one keeps, and the recurrence is exact (as
PipeEdge's, Hu et al. 2022, for the slowest stage alone). All states of a level are worked out at once; j runs over a
band, for the bound allows no longer stages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpipipe.layers import Array
from mpipipe.plan.closed import ALL
from mpipipe.plan.kinds import Kinds, Level
from mpipipe.plan.memory import most_table
from mpipipe.plan.problem import RECOMPUTE, Problem, StageChoice, Stages

INF = np.inf


@dataclass(frozen=True)
class Mode:
    """A kind's stages, keeping activations or recomputing them: running sums of seconds, and how many fit."""

    recompute: bool
    way: Array
    busy: Array
    most: Array


@dataclass(frozen=True)
class Widths:
    """Stages of `width` layers by first layer, within a bound: seconds of the way through them, and the longest way
    from there to the end that they have room for, negative where there is no such stage."""

    width: int
    way: Array
    longest: Array


@dataclass(frozen=True)
class Tables:
    """What the recurrence looks things up in. `latency` and `wire` are (kinds, kinds, layers + 1) by cut."""

    kinds: Kinds
    micros: int
    layers: int
    modes: tuple[tuple[Mode, ...], ...]
    latency: Array
    wire: Array
    alike: bool
    """Whether all links are, so that the next stage's host does not matter."""


def tabulate(problem: Problem, kinds: Kinds, family: str, recompute: str) -> Tables:
    """For hosts grouped to `kinds`; `recompute` is a job's plan.recompute."""
    modes = []
    for kind in kinds:
        host = kind[0]
        threads = float(problem.threads[host])
        forward, back, weight = problem.forward_s[host], problem.input_s[host], problem.weight_s[host]
        each = []
        for again in RECOMPUTE[recompute]:
            most = most_table(problem, host, again)
            most = np.where(most == problem.micros, most, 0) if family == ALL else most
            way = forward * (1 + again) + back + weight / threads
            busy = (forward * (1 + again) + back + weight) / threads
            each.append(Mode(again, _running(way), _running(busy), most))
        modes.append(tuple(_useful(each)))
    latency, wire = _links(problem, kinds)
    pairs = [(u, v) for u in range(len(kinds)) for v in range(len(kinds)) if u != v or len(kinds[u]) > 1]
    alike = all((latency[p] == latency[pairs[0]]).all() and (wire[p] == wire[pairs[0]]).all() for p in pairs)
    return Tables(kinds, problem.micros, problem.layers, tuple(modes), latency, wire, alike)


def _running(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _useful(modes: Sequence[Mode]) -> Sequence[Mode]:
    """Recomputing is of no use where everything fits without."""
    first = modes[0]
    stages = np.triu_indices(first.most.shape[0] + 1, 1)
    return modes[:1] if len(modes) > 1 and first.most[stages].min() >= modes[1].most[stages].max() else modes


def _links(problem: Problem, kinds: Kinds) -> tuple[Array, Array]:
    count, size = len(kinds), np.concatenate([[0], problem.boundary_bytes]).astype(float)
    latency, wire = np.zeros((count, count, len(size))), np.zeros((count, count, len(size)))
    for u in range(count):
        for v in range(count):
            a, b = kinds[u][0], kinds[v][-1 if u == v else 0]
            if a != b:
                latency[u, v], wire[u, v] = problem.latency_s[a, b], size / problem.bandwidth[a, b]
    return latency, wire


class Reach:
    """g for one bound, level by level, and the way back through it."""

    def __init__(self, tables: Tables, levels: Sequence[Level], bound_s: float) -> None:
        # What attains the bound is within it, however its sum was rounded.
        self.tables, self.levels, self.bound_s = tables, levels, bound_s * (1 + 1e-12)
        self.g: list[Array] = []
        self.next: list[Array] = []
        self.widths = [
            [one for mode in modes for one in _widths(mode, tables.micros, self.bound_s)] for modes in tables.modes
        ]
        self.tolls = _tolls(tables, self.bound_s)
        for n in range(len(levels)):
            self.g.append(self._level(n))
            self.next.append(self._onward(n))

    def ways(self) -> Array:
        """For each number of hosts, the least way of the whole model; infinite where there is none."""
        return np.array([np.inf, *(level[:, :, 0].min(initial=np.inf) for level in self.g[1:])])

    def _onward(self, n: int) -> Array:
        """min over v of 2c + g, (1 or kinds, states, layers + 1): what a stage before these finds at each cut."""
        layers = self.tables.layers
        if n == 0:
            end = np.full((1, 1, layers + 1), INF)
            end[..., -1] = 0.0
            return end
        found = np.full((len(self.tolls), self.g[n].shape[0], layers + 1), INF)
        for u, tolls in enumerate(self.tolls):
            (self.g[n] + tolls[:, :layers]).min(axis=1, out=found[u, :, :layers])
        return found

    def _level(self, n: int) -> Array:
        tables = self.tables
        level = self.levels[n]
        g = np.full((len(level.counts), len(tables.kinds), tables.layers), INF)
        if n == 0:
            return g
        for u, (here, before) in enumerate(level.before):
            if not len(here):
                continue
            onward = self.next[n - 1][0 if n == 1 or tables.alike else u][before]
            best = np.full((len(here), tables.layers), INF)
            for one in self.widths[u]:
                way = onward[:, one.width :] + one.way
                way[way > one.longest] = INF
                some = best[:, : len(one.way)]
                np.minimum(some, way, out=some)
            g[here, u] = best
        return g

    def trace(self, n: int) -> Stages:
        """The stages of the least way with n hosts."""
        tables, stages, taken = self.tables, [], [0] * len(self.tables.kinds)
        state, kind = divmod(int(self.g[n][:, :, 0].argmin()), len(tables.kinds))
        first = 0
        for level in range(n, 0, -1):
            last, again = self._step(level, state, kind, first)
            stages.append(StageChoice(tables.kinds[kind][taken[kind]], first, last, again))
            taken[kind] += 1
            here, before = self.levels[level].before[kind]
            state = int(before[int(np.nonzero(here == state)[0][0])])
            kind = self._next_kind(level - 1, state, kind, last)
            first = last
        return tuple(stages)

    def _step(self, level: int, state: int, kind: int, first: int) -> tuple[int, bool]:
        """The end of the first stage, and whether it recomputes."""
        tables = self.tables
        here, before = self.levels[level].before[kind]
        row = int(before[int(np.nonzero(here == state)[0][0])])
        onward = self.next[level - 1][0 if level == 1 or tables.alike else kind][row]
        best, found = INF, (first + 1, False)
        for mode in tables.modes[kind]:
            lasts = np.arange(first + 1, tables.layers + 1)
            most = mode.most[first, lasts]
            way = onward[lasts] + (mode.way[lasts] - mode.way[first])
            room = np.where(most < tables.micros, self.bound_s * most, INF)
            fits = (most > 0) & (mode.busy[lasts] - mode.busy[first] <= self.bound_s) & (way <= room)
            way = np.where(fits, way, INF)
            if way.min() < best:
                best, found = float(way.min()), (int(lasts[way.argmin()]), mode.recompute)
        return found

    def _next_kind(self, level: int, state: int, kind: int, cut: int) -> int:
        if level == 0:
            return kind
        tolls = self.tolls[0 if self.tables.alike else kind]
        return int((tolls[:, cut] + self.g[level][state, :, cut]).argmin())


def _tolls(tables: Tables, bound_s: float) -> Array:
    """Seconds there and back from each kind to each, (1 or kinds, kinds, layers + 1); infinite for too slow a link."""
    tolls = np.where(tables.wire <= bound_s, 2 * (tables.latency + tables.wire), INF)
    if not tables.alike:
        return tolls
    # Any two hosts will do: the first two kinds, or two of the only one.
    return np.repeat(tolls[:1, -1:], len(tables.kinds), axis=1)


def _widths(mode: Mode, micros: int, bound_s: float) -> Iterator[Widths]:
    """All widths that the bound and the memory allow."""
    layers = len(mode.way) - 1
    for width in range(1, layers + 1):
        ends = layers - width + 1
        busy, most = mode.busy[width:] - mode.busy[:ends], mode.most.diagonal(width)
        if busy.min() > bound_s:
            return
        longest = np.where(most < micros, bound_s * most, INF)
        longest[(most == 0) | (busy > bound_s)] = -1.0
        if (longest >= 0).any():
            yield Widths(width, mode.way[width:] - mode.way[:ends], longest)
