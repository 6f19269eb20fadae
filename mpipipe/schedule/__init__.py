"""What happens when: schedules as pure data, and what can be said of them before anything runs."""

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
    round_robin,
    straight,
    unit_pipeline,
)
from mpipipe.schedule.check import check, rooms_of
from mpipipe.schedule.chrome import TraceSpan, simulated_spans, trace_json
from mpipipe.schedule.draw import draw_svg, draw_text
from mpipipe.schedule.forward import forward
from mpipipe.schedule.gpipe import gpipe
from mpipipe.schedule.graph import (
    SLOTS,
    Graph,
    Node,
    Room,
    WholeGraph,
    sample_slots,
    sink_graph,
    source_graph,
    stage_graph,
    whole_graph,
)
from mpipipe.schedule.interleaved import interleaved
from mpipipe.schedule.listed import listed
from mpipipe.schedule.lower import Lowered, lower
from mpipipe.schedule.one_f_one_b import one_f_one_b
from mpipipe.schedule.peaks import peaks, stage_peaks
from mpipipe.schedule.recipes import SCHEDULES, Recipe
from mpipipe.schedule.sharing import Cores, Hosts
from mpipipe.schedule.simulate import Simulation, Span, Transfer, simulate
from mpipipe.schedule.table import schedule_csv
from mpipipe.schedule.units import Units, simulate_units
from mpipipe.schedule.wiring import Wiring, wire
from mpipipe.schedule.zb_h1 import zb_h1
from mpipipe.schedule.zb_v import zb_v, zigzag

__all__ = [
    "Action",
    "COMPUTE",
    "Cores",
    "Graph",
    "Hosts",
    "Kind",
    "Lane",
    "Lowered",
    "Node",
    "Pipeline",
    "Placement",
    "Recipe",
    "Room",
    "SCHEDULES",
    "SLOTS",
    "Schedule",
    "Simulation",
    "Span",
    "StageCost",
    "TraceSpan",
    "Transfer",
    "Units",
    "WholeGraph",
    "Wiring",
    "check",
    "draw_svg",
    "draw_text",
    "forward",
    "gpipe",
    "interleaved",
    "lane_of",
    "listed",
    "lower",
    "one_f_one_b",
    "parse_lane",
    "peaks",
    "rooms_of",
    "sample_slots",
    "round_robin",
    "schedule_csv",
    "simulate",
    "simulate_units",
    "simulated_spans",
    "sink_graph",
    "source_graph",
    "stage_graph",
    "stage_peaks",
    "straight",
    "trace_json",
    "unit_pipeline",
    "whole_graph",
    "wire",
    "zb_h1",
    "zb_v",
    "zigzag",
]
