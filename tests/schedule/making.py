"""Short ways to make schedules and to time them: one stage a lane, unless a placement is given."""

from itertools import accumulate

from hypothesis import strategies as st

from mpipipe import schedule as room
from mpipipe.schedule import (
    Action,
    Kind,
    Room,
    Schedule,
    Transfer,
    lower,
    parse_lane,
    simulate,
    straight,
    unit_pipeline,
    whole_graph,
    wire,
)


def forward(stages, micros, limits=(), placement=()):
    return room.forward(unit_pipeline(placement or straight(stages), micros, limits))


def gpipe(stages, micros, limits=()):
    return room.gpipe(unit_pipeline(straight(stages), micros, limits))


def one_f_one_b(stages, micros, limits):
    return room.one_f_one_b(unit_pipeline(straight(stages), micros, limits))


TRAINING = {"gpipe": gpipe, "1f1b": one_f_one_b}


def classic(stages):
    return [stages - stage for stage in range(stages)]


def roomy(stages):
    return [2 * (stages - stage) - 1 for stage in range(stages)]


def written(*lines, limits=None, micros=None, placement=None):
    """A schedule from its lines, as wide as they are long unless told otherwise."""
    lanes = tuple(parse_lane(line) for line in lines)
    micros = micros or max(action.micro for lane in lanes for action in lane) + 1
    placement = placement or straight(len(lanes))
    return Schedule("mine", micros, tuple(limits or [micros] * sum(map(len, placement))), lanes, placement)


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
    limits = tuple(min(micros, limit + delay) for limit in plain.in_flight)
    return Schedule("delayed", micros, limits, tuple(lanes), plain.placement)


def nested(lanes, chunks, micros):
    """Each micro-batch goes there and back through all stages, which are dealt out to the lanes in turn."""
    placement = tuple(tuple(range(lane, lanes * chunks, lanes)) for lane in range(lanes))
    order = [Action(Kind.F, 0, chunk) for chunk in range(chunks)]
    order += [Action(Kind.B, 0, chunk) for chunk in reversed(range(chunks))]
    one = tuple(Action(action.kind, micro, action.chunk) for micro in range(micros) for action in order)
    return Schedule("nested", micros, (1,) * (lanes * chunks), (one,) * lanes, placement)


def times(f, i, w, parts=1):
    return {Kind.F: f, Kind.I: i, Kind.W: w / parts if parts else 0.0}


def whole(schedule, slots=None, gradients=None, parts=1, source=None, targets=True, outputs=False):
    """All graphs. Slots, gradient slots and parts are those of every stage, or one number for all."""
    stages = schedule.stages

    def each(number):
        return [number] * stages if isinstance(number, int) else list(number)

    columns = each(slots or schedule.in_flight), each(gradients or schedule.micros), each(parts)
    rooms = [Room(*numbers) for numbers in zip(*columns, strict=True)]
    return whole_graph(lower(schedule, targets, outputs), rooms, source or schedule.micros)


def timed(schedule, each, links=(), threads=1, slots=None, gradients=None, parts=1, strict=True):
    """Simulate with `each` stage's seconds (f, i, w), and the link after each stage: its latency, or a Transfer."""
    messages = {}
    for stage, link in enumerate(links):
        transfer = link if isinstance(link, Transfer) else Transfer(link)
        messages[Kind.SEND_ACT, stage] = messages[Kind.SEND_GRAD, stage + 1] = transfer
    made = wire(whole(schedule, slots, gradients, parts))
    lanes = len(schedule.lanes)
    return simulate(made, [times(*one, parts) for one in each], [threads] * lanes, messages, strict)


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
