"""What happens when: schedules as pure data, and what can be said of them before anything runs."""

from collections.abc import Callable, Sequence

from mpipipe.schedule.actions import COMPUTE, Action, Kind, Lane, Schedule, parse_lane
from mpipipe.schedule.check import check
from mpipipe.schedule.draw import draw_svg, draw_text
from mpipipe.schedule.forward import forward
from mpipipe.schedule.gpipe import gpipe
from mpipipe.schedule.graph import Graph, Node, sink_graph, source_graph, stage_graph, whole_graph
from mpipipe.schedule.lower import Lowered, lower
from mpipipe.schedule.one_f_one_b import one_f_one_b
from mpipipe.schedule.peaks import peaks
from mpipipe.schedule.simulate import Simulation, Span, simulate

SCHEDULES: dict[str, Callable[[int, int, Sequence[int]], Schedule]] = {"gpipe": gpipe, "1f1b": one_f_one_b}
"""Every training schedule by name: a function of (stages, micro-batches, limits). One file and one name each."""

__all__ = [
    "COMPUTE",
    "SCHEDULES",
    "Action",
    "Graph",
    "Kind",
    "Lane",
    "Lowered",
    "Node",
    "Schedule",
    "Simulation",
    "Span",
    "check",
    "draw_svg",
    "draw_text",
    "forward",
    "gpipe",
    "lower",
    "one_f_one_b",
    "parse_lane",
    "peaks",
    "simulate",
    "sink_graph",
    "source_graph",
    "stage_graph",
    "whole_graph",
]
