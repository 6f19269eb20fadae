"""Checkpoints as tables: what one holds, and where two differ."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.checkpoint import Difference, Entry, Facts, kernel_of
from mpipipe.report.show import RULED
from mpipipe.report.units import human_bytes, plural

STATS = ("minimum", "mean", "maximum", "std", "norm")


def facts_text(path: Path, facts: Facts) -> list[str]:
    """What a checkpoint says of itself, a line each."""
    position, data, plan = facts.position, facts.data, json.loads(facts.plan)
    known = {**json.loads(facts.versions), "kernel": kernel_of(facts)}
    versions = ", ".join(f"{name} {version}" for name, version in known.items())
    stages, ranks = len(plan["stages"]), plan["ranks"]
    return [
        f"{path}: step {position.step}, epoch {position.epoch}, {position.offset} samples into it; seed {facts.seed}",
        f"data {data.source}: samples of shape {data.input_shape}, scaled by '{data.scale}'",
        f"written by {versions}, as {plural(stages, 'stage')} on {plural(ranks, 'rank')}",
    ]


def entries_table(entries: Sequence[Entry]) -> RenderableType:
    """A line for each data set, indented as a tree, with bytes; statistics where they were measured."""
    with_stats = any(entry.stats for entry in entries)
    names = ["data set", "shape", "type", "bytes", *((*STATS, "non-finite") if with_stats else ())]
    table = _table(names, left=3)
    shown: tuple[str, ...] = ()
    for entry in entries:
        *folders, name = entry.place.strip("/").split("/")
        for depth, folder in enumerate(folders):
            if tuple(folders[: depth + 1]) != shown[: depth + 1]:
                table.add_row(f"{'  ' * depth}{folder}/")
        shown = tuple(folders)
        cells = [f"{'  ' * len(folders)}{name}", str(entry.shape), entry.dtype, f"{entry.bytes:,}"]
        if entry.stats:
            cells += [f"{getattr(entry.stats, key):.4g}" for key in STATS] + [str(entry.stats.non_finite)]
        table.add_row(*cells)
    size = human_bytes(sum(entry.bytes for entry in entries))
    return Group(table, Text(f"{len(entries)} data sets, {size}"))


def differences_table(differences: Sequence[Difference]) -> Table:
    """A line for each place."""
    table = _table(["place", "what", "largest difference"], left=2)
    for difference in differences:
        largest = f"{difference.largest:.6g}" if difference.elements else ""
        table.add_row(difference.place, difference.what, largest)
    return table


def _table(names: Sequence[str], left: int) -> Table:
    table = Table(box=RULED, show_edge=False, pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    return table
