"""The timeline of a run: when every action and message of some steps began and ended, on one clock.

A file `timeline.npz` holds, for each kept step and rank, an array (nodes, 6): number of the kind, micro-batch, chunk,
part, began, ended; seconds from the first action of that step, by rank 0's clock. And how far off each other rank's
clock may be, and the plan. What a plan foretells has the same form, so that both are looked at by the same functions.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpipipe.errors import UserError
from mpipipe.layers import Array
from mpipipe.plan.simulated import simulate_plan
from mpipipe.plan.types import Plan
from mpipipe.records import from_plain, to_plain
from mpipipe.report.replace import replacing
from mpipipe.schedule import Kind

KINDS = tuple(Kind)
KIND, MICRO, CHUNK, PART, BEGAN, ENDED = range(6)
Rows = dict[int, Array]
"""One step: by rank."""


@dataclass(frozen=True)
class Timeline:
    """`steps[n][rank]` are the rows of one rank in a step; `unsure_s` by rank how far off its times may be."""

    plan: Plan
    unsure_s: dict[int, float]
    steps: dict[int, Rows]


@dataclass(frozen=True)
class Clocks:
    """All clocks compared once, at `at_s` by rank 0's: by rank, seconds that its clock is `ahead` of rank 0's, and how
    far off that may be."""

    at_s: float
    ahead: dict[int, tuple[float, float]]


def make_timeline(plan: Plan, clocks: Sequence[Clocks], records: Mapping[int, Mapping[int, Array]]) -> Timeline:
    """Of records by each rank's own clock. Between two comparisons of clocks, they are taken to drift evenly."""
    steps = {}
    for step, by_rank in records.items():
        rows = {rank: array.copy() for rank, array in by_rank.items()}
        for rank, array in rows.items():
            array[:, BEGAN:] -= _ahead_s(clocks, rank, float(array[:, BEGAN].min()))
        start = min(float(array[:, BEGAN].min()) for array in rows.values())
        for array in rows.values():
            array[:, BEGAN:] -= start
        steps[step] = rows
    unsure = [(rank, unsure_s) for one in clocks for rank, (_, unsure_s) in one.ahead.items()]
    return Timeline(plan, dict(sorted(unsure)), steps)


def _ahead_s(clocks: Sequence[Clocks], rank: int, at_s: float) -> float:
    """Seconds that a rank's clock is ahead when it shows `at_s`."""
    known = [(one.at_s, one.ahead[rank][0]) for one in clocks if rank in one.ahead]
    if not known:
        return 0.0
    compared_at, ahead = zip(*known, strict=True)
    return float(np.interp(at_s - ahead[0], compared_at, ahead))


def foretold(plan: Plan) -> Rows:
    """The step that a plan foretells."""
    found: dict[int, list[tuple[float, ...]]] = {rank: [] for rank in plan.lanes}
    for span in simulate_plan(plan).spans:
        if span.lane < len(plan.lanes):
            action = span.action
            place = float(KINDS.index(action.kind)), action.micro, action.chunk, span.part
            found[plan.lanes[span.lane]].append((*place, span.start_s, span.end_s))
    return {rank: np.array(rows).reshape(-1, 6) for rank, rows in found.items()}


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Whole or not at all. Raises UserError."""
    head = {"plan": to_plain(timeline.plan), "unsure_s": {str(rank): one for rank, one in timeline.unsure_s.items()}}
    arrays = {f"{step}/{rank}": array for step, rows in timeline.steps.items() for rank, array in rows.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_timeline(path: Path) -> Timeline:
    """Raises UserError where there is none, or one that cannot be used."""
    remedy = "it is left by train at every checkpoint and at the end"
    if not path.is_file():
        raise UserError(str(path), "no timeline is there", "the folder of a run that got through a full batch", remedy)
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            plan = from_plain(Plan, head["plan"], "plan")
            unsure = {int(rank): float(one) for rank, one in head["unsure_s"].items()}
            steps: dict[int, Rows] = {}
            for name in file.files:
                if name != "head":
                    step, rank = map(int, name.split("/"))
                    steps.setdefault(step, {})[rank] = _checked(file[name], plan, rank)
            if any(rows.keys() != set(plan.lanes) for rows in steps.values()):
                raise ValueError("a rank is missing")
    except Exception as reason:  # zipfile and numpy raise whatever comes to them of bytes that are not theirs
        raise UserError(str(path), f"damaged ({reason})", "a timeline that train wrote") from reason
    if not steps:
        raise UserError(str(path), "holds no step", "a run that got through a full batch", remedy)
    return Timeline(plan, unsure, dict(sorted(steps.items())))


def _checked(rows: Array, plan: Plan, rank: int) -> Array:
    if rank not in plan.lanes:
        raise ValueError(f"rank {rank} has no stage")
    if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != 6 or not np.isfinite(rows).all():
        raise ValueError(f"rows of shape {rows.shape}, {rows.dtype}")
    limits = np.array([len(KINDS), plan.micros, len(plan.stages_of(rank))])
    places = rows[:, [KIND, MICRO, CHUNK]]
    if (places != np.floor(places)).any() or (places < 0).any() or (places >= limits).any():
        raise ValueError("an action that no plan has")
    return rows
