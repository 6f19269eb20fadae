import io

from mpipipe.report import hosts_table, show
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
