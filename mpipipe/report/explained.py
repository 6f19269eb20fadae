"""How other rules would cut the model for the same hosts, next to the plan, as a table."""

from collections.abc import Sequence

from rich.table import Table

from mpipipe.plan.explain import Alternative
from mpipipe.plan.types import Plan
from mpipipe.report.show import RULED
from mpipipe.report.units import human_seconds


def explained_table(plan: Plan, alternatives: Sequence[Alternative]) -> Table:
    """The plan first; `times` is how much longer a step of each other way takes."""
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name, justify in (
        ("who gets what", "left"),
        ("cuts before layers", "left"),
        ("a step", "right"),
        ("times", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    cuts = tuple(stage.first for stage in plan.stages[1:])
    table.add_row(f"this plan, {plan.schedule}", _numbers(cuts), human_seconds(plan.step_s), "1.00")
    for one in alternatives:
        step = "does not fit" if one.step_s is None else human_seconds(one.step_s)
        times = "" if one.step_s is None else f"{one.step_s / plan.step_s:.2f}"
        table.add_row(one.rule, _numbers(one.cuts), step, times)
    return table


def _numbers(cuts: Sequence[int]) -> str:
    return " ".join(map(str, cuts))
