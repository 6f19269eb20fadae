import io
import re
import sys

import pytest

from mpipipe.report import Moment, progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def moment(step, **more):
    values = {"epoch": 1, "epochs": 3, "loss": 0.123456, "accuracy": 0.951, "samples_per_s": 3040.6}
    return Moment(step, **{**values, "busy": ((0, 0.81), (1, 0.77)), **more})


def run(steps, each_s, total=None, start=0, stream=None, quiet=False):
    clock, stream = Clock(), stream or io.StringIO()
    with progress(total or steps, quiet, start, clock, stream) as shown:
        for step in range(start + 1, steps + 1):
            clock.now += each_s
            shown.update(moment(step))
    return stream.getvalue()


def steps_of(text):
    return [int(found) for found in re.findall(r"step (\d+)/", text)]


def test_a_line_says_all():
    text = run(1, 1.0, total=100)
    assert text == (
        "epoch 1/3  step 1/100  loss 0.1235  accuracy 95.1%  3041 samples/s  busy 0:81% 1:77%  1 min 39 s left\n"
    )


def test_a_line_without_what_is_not_known():
    stream = io.StringIO()
    with progress(100, False, stream=stream) as shown:
        shown.update(moment(100, epochs=0, accuracy=None, busy=()))
    assert stream.getvalue() == "epoch 1  step 100/100  loss 0.1235  3041 samples/s\n"


def test_lines_come_every_few_seconds_the_first_and_last_always():
    assert steps_of(run(20, 1.0)) == [1, 6, 11, 16, 20]
    assert steps_of(run(3, 0.001)) == [1, 3]
    assert steps_of(run(2, 60.0)) == [1, 2]
    assert steps_of(run(1, 0.0)) == [1]


def test_a_run_that_stops_early_shows_its_last_step():
    assert steps_of(run(4, 1.0, total=100)) == [1, 4]


def test_the_last_step_is_shown_when_training_fails():
    stream = io.StringIO()
    with pytest.raises(RuntimeError), progress(9, False, 0, Clock(), stream) as shown:
        shown.update(moment(1))
        shown.update(moment(2))
        raise RuntimeError
    assert steps_of(stream.getvalue()) == [1, 2]


def test_time_left_leaves_out_the_slow_first_step():
    clock, stream = Clock(), io.StringIO()
    with progress(110, False, 50, clock, stream) as shown:
        for step, seconds in ((51, 30.0), (52, 6.0), (53, 6.0)):
            clock.now += seconds
            shown.update(moment(step))
    lefts = [line.split("  ")[-1] for line in stream.getvalue().splitlines()]
    assert lefts == ["29 min 30 s left", "5 min 48 s left", "5 min 42 s left"]


def test_quiet_shows_nothing():
    for stream in (io.StringIO(), Terminal()):
        with progress(5, True, stream=stream) as shown:
            shown.update(moment(1))
            shown.note("text")
        assert stream.getvalue() == ""


def test_notes_stand_between_lines():
    stream = io.StringIO()
    with progress(5, False, stream=stream) as shown:
        shown.note("checkpoint [saved]")
        shown.update(moment(5))
    assert stream.getvalue().splitlines()[0] == "checkpoint [saved]"


def test_progress_goes_to_standard_error(capsys):
    with progress(1, False) as shown:
        shown.update(moment(1))
    out, err = capsys.readouterr()
    assert out == "" and steps_of(err) == [1]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def test_a_terminal_gets_a_bar(terminal):
    stdout = sys.stdout
    clock = Clock()
    with progress(10, False, 0, clock, terminal) as shown:
        assert sys.stdout is stdout
        clock.now += 1
        shown.update(moment(1))
        shown.note("checkpoint [saved]")
        shown.update(moment(2))
        clock.now += 1
        shown.update(moment(3))
        shown.update(moment(4))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    for part in ("epoch 1/3", "accuracy 95.1%", "3041 samples/s", "busy 0:81% 1:77%", "checkpoint [saved]", "left"):
        assert part in text
    # Step 2 came too soon to be drawn by itself; the last one stays on the screen.
    assert steps_of(text)[-1] == 4
    assert 3 in steps_of(text)
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")


def test_a_bar_does_not_redraw_at_every_step(terminal):
    text = run(1000, 0.001, stream=terminal)
    assert 5 < len(steps_of(text)) < 20
    assert steps_of(text)[-1] == 1000


def test_a_stream_that_takes_no_more_ends_no_run():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    assert run(3, 10, stream=Full()) == ""
