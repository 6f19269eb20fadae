"""Messages on wires: one at a time in each direction between two ranks."""

from mpipipe.schedule import Kind, Transfer, simulate, wire

from .making import gpipe, timed, times, whole, written


def starts(result, lane, kind):
    return [span.start_s for span in result.spans if (span.lane, span.action.kind) == (lane, kind)]


def test_a_wire_carries_one_message_at_a_time():
    """Three forwards of one unit, each message 2 units on the wire and 5 on its way."""
    result = timed(gpipe(2, 3), [(1, 1, 1)] * 2, [Transfer(5, 2)])
    assert starts(result, 0, Kind.SEND_ACT) == [1, 3, 5]
    assert starts(result, 1, Kind.F) == [8, 10, 12]


def test_the_two_directions_of_a_link_are_two_wires():
    schedule = written("F0 F1 B0 B1", "F0 B0 F1 B1")
    result = timed(schedule, [(1, 1, 1), (1, 1, 0)], [Transfer(0, 3)])
    assert starts(result, 0, Kind.SEND_ACT) == [1, 4]
    assert starts(result, 1, Kind.SEND_GRAD) == [6, 9]
    both = timed(schedule, [(1, 1, 1), (1, 1, 0)], [Transfer(0, 8)])
    assert starts(both, 0, Kind.SEND_ACT) == [1, 9] and starts(both, 1, Kind.SEND_GRAD) == [11, 19]


def test_chunks_share_the_wire_between_their_ranks():
    """Two chunks of rank 0 have one wire to rank 1: with 4 units on it, the second message waits for the first."""
    schedule = written("F0 F1 F0.1 F1.1", "F0 F1 F0.1 F1.1", placement=((0, 2), (1, 3)))
    messages = {(Kind.SEND_ACT, stage): Transfer(0, 4) for stage in (0, 2)}
    result = simulate(wire(whole(schedule, targets=False)), [times(1, 1, 1)] * 4, [1, 1], messages)
    assert starts(result, 0, Kind.SEND_ACT) == [1, 5, 9, 13]
