import io

import pytest

from mpipipe.report import dispensable, hosts_table, show
from mpipipe.report.show import console, output_width

from .records import cluster


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_pipe_gets_plain_text_of_120_columns(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    show(hosts_table(cluster()))
    out, err = capsys.readouterr()
    assert err == ""
    assert out.isascii() and "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 120
    assert "mini1" in out
    assert output_width() == 120


def test_a_line_is_neither_broken_nor_interpreted(capsys):
    line = "note: [bold] :smile: " + "word " * 60
    show(line)
    assert capsys.readouterr().out == line + "\n"


def test_quiet_shows_nothing(capsys):
    show("text", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_its_own_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setenv("TERM", "xterm")
    assert console(Terminal()).width == 77


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (ImportError("no\n  library"), "no library"),
        (MemoryError(), "MemoryError"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_what_is_dispensable_is_told_in_a_line(reason, why):
    told = []
    with dispensable("loss.png", told.append):
        raise reason
    assert told == [f"loss.png is left out: {why}"]


def test_an_interruption_is_no_mishap_of_what_is_dispensable():
    with pytest.raises(KeyboardInterrupt), dispensable("loss.png", print):
        raise KeyboardInterrupt
