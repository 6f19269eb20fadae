"""The hosts and the plan as tables. One line a rank where 110 columns are free, two lines a rank where they are not."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.plan.types import Plan, StagePlan
from mpipipe.report.show import RULED, output_width
from mpipipe.report.units import figures, human_bytes, human_rate, human_seconds, milliseconds, plural
from mpipipe.resources.cluster import Cluster, Host

WIDE = 110
LONG = 24
FOLDED = {"CPU", "names"}
LEFT = {"host", "IP", "CPU", "kernel", "layers", "names"}
VERSIONS = {"mpipipe": "mpipipe ", "mpi": "", "python": "Python ", "numpy": "numpy ", "blas": ""}
Keys = tuple[str, ...]


def hosts_table(cluster: Cluster, width: int | None = None) -> RenderableType:
    """Every rank's host. Versions that all hosts share stand once, below; those that differ stand below its kernel.

    GFLOP/s are those of one thread. `width` in columns is that of the output unless given.
    """
    differing = [key for key in VERSIONS if len({getattr(host, key) for host in cluster.hosts}) > 1]
    shared = _versions(cluster.hosts[0], [key for key in VERSIONS if key not in differing]) if cluster.hosts else []
    groups: list[Keys] = [("rank",), ("host", "IP"), ("RAM free", "of"), ("threads",), ("GFLOP/s",), ("CPU", "kernel")]
    rows = [_host_cells(host, differing) for host in cluster.hosts]
    table = _table(_columns(groups, width), rows)
    return Group(table, Text(f"on every host: {', '.join(shared)}")) if shared else table


def plan_table(plan: Plan, width: int | None = None) -> Table:
    """Every stage in pipeline order. Layers count from 0; times are those of one full micro-batch on one thread.

    What is sent goes to the next stage, or back. An `r` stands where a stage recomputes.
    """
    groups: list[Keys] = [("stage",), ("rank",), ("host",), ("layers", "names"), ("threads", "in flight")]
    groups += [("ms forward", "ms back"), ("ms send",), ("memory", "of")]
    rows = [_stage_cells(plan, index, stage) for index, stage in enumerate(plan.stages)]
    table = _table(_columns(groups, width), rows)
    for column in table.columns:
        if column.header in ("in flight", "ms forward", "ms back", "ms send"):  # wider than what stands below
            column.header = column.header.replace(" ", "\n")
    return table


def plan_text(plan: Plan) -> list[str]:
    """Lines below the table: what the plan foretells, its schedule, its notes."""
    speed = human_rate(plan.batch / plan.step_s) if plan.step_s > 0 else "no samples/s"
    sizes = f"{plural(plan.batch, 'sample')} in {plural(plan.micros, 'micro-batch', 'es')} of {plan.micro_batch}"
    places = f"{plural(len(plan.stages), 'stage')} on {plural(plan.ranks, 'rank')}"
    lines = [
        f"predicted: {human_seconds(plan.step_s)} a step, {speed} ({sizes})",
        f"schedule: {plan.schedule}, {places}, bubble {plan.bubble:.1%} of the step",
    ]
    if plan.bound_s:
        lines.append(f"bound: no plan for these hosts takes less than {_gap(plan, plan.bound_s)}")
        if plan.straight_bound_s > plan.bound_s * 1.001 and len(plan.lanes) == len(plan.stages):
            lines[-1] += f"; none with one stage a rank less than {_gap(plan, plan.straight_bound_s)}"
    return lines + [f"note: {note}" for note in plan.notes]


def _gap(plan: Plan, bound_s: float) -> str:
    return f"{human_seconds(bound_s)} (this is {max(0.0, plan.step_s / bound_s - 1):.1%} above)"


def _host_cells(host: Host, differing: Sequence[str]) -> dict[str, str]:
    return {
        "rank": str(host.rank),
        "host": host.name,
        "IP": host.ip,
        "RAM free": human_bytes(host.available_bytes),
        "of": human_bytes(host.ram_bytes),
        "threads": str(host.threads),
        "GFLOP/s": figures(host.matrix_flops / 1e9),
        "CPU": _short_cpu(host.cpu),
        "kernel": "\n".join([host.kernel, *_versions(host, differing)]),
    }


def _stage_cells(plan: Plan, index: int, stage: StagePlan) -> dict[str, str]:
    first, last, names = stage.first, stage.last - 1, plan.layers[stage.first : stage.last]
    return {
        "stage": str(index),
        "rank": str(stage.rank),
        "host": stage.host,
        "layers": f"{first}..{last}" if last > first else str(first),
        "names": f"{names[0]}..{names[-1]}" if len(names) > 1 else "".join(names),
        "threads": str(stage.threads),
        "in flight": f"{stage.in_flight}{' r' if stage.recompute else ''}",
        "ms forward": milliseconds(stage.forward_s),
        "ms back": milliseconds(stage.input_s + stage.weight_s),
        "ms send": milliseconds(stage.latency_s + stage.wire_s) if index + 1 < len(plan.stages) else "",
        "memory": human_bytes(stage.bytes),
        "of": human_bytes(stage.available_bytes),
    }


def _columns(groups: list[Keys], width: int | None) -> list[Keys]:
    if (output_width() if width is None else width) < WIDE:
        return groups
    return [(key,) for keys in groups for key in keys]


def _table(columns: Sequence[Keys], rows: Sequence[Mapping[str, str]]) -> Table:
    # A column shows its keys one below the other. What is long folds and loses nothing; the rest keeps its line, and
    # rich narrows the folding columns for it.
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for keys in columns:
        lines = [line for row in rows for key in keys for line in row[key].split("\n")]
        short = not FOLDED.intersection(keys) and max(map(len, lines), default=0) <= LONG
        justify: Literal["left", "right"] = "left" if LEFT.intersection(keys) else "right"
        table.add_column("\n".join(keys), justify=justify, no_wrap=short, overflow="fold")
    for row in rows:
        table.add_row(*("\n".join(row[key] for key in keys) for keys in columns))
    return table


def _versions(host: Host, keys: Sequence[str]) -> list[str]:
    return [VERSIONS[key] + getattr(host, key) for key in keys if getattr(host, key)]


def _short_cpu(name: str) -> str:
    return re.sub(r"\((R|TM|r|tm)\)| CPU\b| Processor\b|\d+-Core\b| @ [\d.]+GHz", "", name).strip()
