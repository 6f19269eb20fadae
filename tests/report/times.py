"""Timelines made from what a plan foretells: measured times are as foretold, but for what a test changes."""

from dataclasses import replace

from mpipipe.plan.pipeline import pipeline_of
from mpipipe.plan.types import Plan, StagePlan
from mpipipe.report.timeline import CHUNK, Timeline, foretold
from mpipipe.schedule import SCHEDULES

ORDERS = {"1f1b": (2, 0, 1), "gpipe": (0, 1), "zb-v": (0, 1, 2, 2, 1, 0), "interleaved": (1, 0, 1, 0), "zb-h1": (0,)}


def plan_of(schedule: str = "1f1b", threads: int = 2, micros: int = 6) -> Plan:
    """Unlike stages, with messages between them."""
    order = ORDERS[schedule]
    stages = tuple(
        StagePlan(
            rank, f"host{rank}", s, s + 1, threads, 4, 2, 0.003 + 0.001 * s, 0.004, 0.002 + 0.0005 * s, 1, 1,
            s == 1, 0.0002, 0.0004, threads,
        )
        for s, rank in enumerate(order)
    )  # fmt: skip
    layers = tuple(f"{s:03d}_linear" for s in range(len(order)))
    made = Plan(layers, 3, 2 * micros, 2, schedule, stages, (), 0.1, 0.1)
    limits = SCHEDULES[schedule].make(pipeline_of(made, made.batch)).in_flight
    return replace(made, stages=tuple(map(lambda one, k: replace(one, in_flight=k), stages, limits)))


def as_foretold(plan: Plan, steps: tuple[int, ...] = (1, 2, 4)) -> Timeline:
    """Every step as foretold."""
    return Timeline(plan, {1: 2e-5, 2: 3e-5}, {step: foretold(plan) for step in steps})


def slowed(timeline: Timeline, stage: int, factor: float) -> Timeline:
    """A stage's F, I and W took so many times as long, and all else began when it did."""
    plan, steps = timeline.plan, {}
    rank = plan.stages[stage].rank
    chunk = plan.stages_of(rank).index(stage)
    for step, rows in timeline.steps.items():
        array = rows[rank].copy()
        mine = (array[:, 0] < 3) & (array[:, CHUNK] == chunk)
        array[mine, 5] += (factor - 1) * (array[mine, 5] - array[mine, 4])
        steps[step] = {**rows, rank: array}
    return replace(timeline, steps=steps)
