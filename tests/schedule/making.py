"""Short ways to make schedules and to time them."""

from itertools import accumulate

from hypothesis import strategies as st

from mpipipe.schedule import (
    Action,
    Kind,
    Schedule,
    forward,
    gpipe,
    lower,
    one_f_one_b,
    parse_lane,
    simulate,
    whole_graph,
)

TRAINING = {"gpipe": gpipe, "1f1b": one_f_one_b}


def classic(stages):
    return [stages - stage for stage in range(stages)]


def roomy(stages):
    return [2 * (stages - stage) - 1 for stage in range(stages)]


def written(*lines, limits=None, micros=None):
    """A schedule from its lines, as wide as they are long unless told otherwise."""
    lanes = tuple(parse_lane(line) for line in lines)
    micros = micros or max(action.micro for lane in lanes for action in lane) + 1
    return Schedule("mine", micros, tuple(limits or [micros] * len(lanes)), lanes)


def delayed(stages, micros, limits, delay):
    """1F1B whose W come `delay` micro-batches after their I, as in schedules that fill the bubble with W."""
    plain = one_f_one_b(stages, micros, limits)
    lanes = []
    for lane in plain.lanes:
        split = []
        for action in lane:
            backward = action.kind == Kind.B
            split.append(Action(Kind.I, action.micro) if backward else action)
            if backward and action.micro >= delay:
                split.append(Action(Kind.W, action.micro - delay))
        split += [Action(Kind.W, micro) for micro in range(max(0, micros - delay), micros)]
        lanes.append(tuple(split))
    return Schedule("delayed", micros, tuple(min(micros, limit + delay) for limit in plain.in_flight), tuple(lanes))


def times(f, i, w, parts=1):
    return {Kind.F: f, Kind.I: i, Kind.W: w / parts if parts else 0.0}


def timed(schedule, each, links=(), threads=1, slots=None, gradients=None, parts=1, strict=True):
    """Simulate with `each` stage's seconds (f, i, w), and the seconds of the link after each stage."""
    stages = len(schedule.lanes)
    held = [gradients or schedule.micros] * stages
    graphs = whole_graph(lower(schedule), slots or schedule.in_flight, held, [parts] * stages, schedule.micros)
    messages = {}
    for stage, seconds in enumerate(links):
        messages[Kind.SEND_ACT, stage] = messages[Kind.SEND_GRAD, stage + 1] = seconds
    lanes = [times(*one, parts) for one in each]
    return simulate(graphs, [*lanes, {}, {}], [threads] * stages + [1, 1], messages, strict)


@st.composite
def limits_of(draw, stages, most=9):
    """A limit for each stage, none above the one before it."""
    return list(accumulate(draw(st.lists(st.integers(1, most), min_size=stages, max_size=stages)), min))


@st.composite
def schedules(draw, names=("gpipe", "1f1b", "delayed", "forward"), stages=5, micros=8):
    """Any schedule that should run."""
    stages, micros = draw(st.integers(1, stages)), draw(st.integers(1, micros))
    limits, name = draw(limits_of(stages)), draw(st.sampled_from(names))
    if name == "delayed":
        return delayed(stages, micros, limits, draw(st.integers(0, 3)))
    return {**TRAINING, "forward": forward}[name](stages, micros, limits)
