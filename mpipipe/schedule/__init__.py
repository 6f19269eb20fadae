"""What happens when: schedules as pure data, and what can be said of them before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass

from mpipipe.schedule.actions import (
    COMPUTE,
    Action,
    Kind,
    Lane,
    Pipeline,
    Placement,
    Schedule,
    StageCost,
    lane_of,
    parse_lane,
    straight,
    unit_pipeline,
)
from mpipipe.schedule.check import check, rooms_of
from mpipipe.schedule.draw import draw_svg, draw_text
from mpipipe.schedule.forward import forward
from mpipipe.schedule.gpipe import gpipe
from mpipipe.schedule.graph import Graph, Node, Room, WholeGraph, sink_graph, source_graph, stage_graph, whole_graph
from mpipipe.schedule.lower import Lowered, lower
from mpipipe.schedule.one_f_one_b import one_f_one_b
from mpipipe.schedule.peaks import peaks
from mpipipe.schedule.simulate import Simulation, Span, Transfer, Wiring, simulate, wire


@dataclass(frozen=True)
class Recipe:
    """How a schedule is made: which stages a lane holds, given the number of stages, and its lanes.

    `chunks` is how many stages a rank holds, if nothing else is asked for.
    """

    make: Callable[[Pipeline], Schedule]
    place: Callable[[int], Placement] = straight
    chunks: int = 1


SCHEDULES: dict[str, Recipe] = {"gpipe": Recipe(gpipe), "1f1b": Recipe(one_f_one_b)}
"""Every training schedule by name. One file and one name each."""

__all__ = [
    "COMPUTE",
    "SCHEDULES",
    "Action",
    "Graph",
    "Kind",
    "Lane",
    "Lowered",
    "Node",
    "Pipeline",
    "Placement",
    "Recipe",
    "Room",
    "Schedule",
    "Simulation",
    "Span",
    "StageCost",
    "Transfer",
    "WholeGraph",
    "Wiring",
    "check",
    "draw_svg",
    "draw_text",
    "forward",
    "gpipe",
    "lane_of",
    "lower",
    "one_f_one_b",
    "parse_lane",
    "peaks",
    "rooms_of",
    "simulate",
    "sink_graph",
    "source_graph",
    "stage_graph",
    "straight",
    "unit_pipeline",
    "whole_graph",
    "wire",
]
