"""A simulated schedule as CSV: a row for every F, I and W of every lane, with its place in the lane and its times."""

from mpipipe.schedule.actions import Kind, Schedule
from mpipipe.schedule.lower import lower
from mpipipe.schedule.simulate import Simulation

HEAD = "lane,position,action,micro,chunk,start,end"


def schedule_csv(schedule: Schedule, result: Simulation) -> str:
    """In the order of the lanes; a W that several workers shared counts from its first part to its last."""
    times: dict[tuple[int, object], tuple[float, float]] = {}
    for span in result.spans:
        first, last = times.get((span.lane, span.action), (span.start_s, span.end_s))
        times[span.lane, span.action] = min(first, span.start_s), max(last, span.end_s)
    rows = [HEAD]
    for number, lane in enumerate(lower(schedule).lanes):
        for position, action in enumerate(one for one in lane if one.kind in (Kind.F, Kind.I, Kind.W)):
            start, end = times[number, action]
            cells = (number, position, action.kind, action.micro, action.chunk, f"{start:.6g}", f"{end:.6g}")
            rows.append(",".join(map(str, cells)))
    return "\n".join(rows) + "\n"
