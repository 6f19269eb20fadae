import math
import subprocess
import sys

import matplotlib.axes
import matplotlib.image
import pytest

from mpipipe.errors import UserError
from mpipipe.report import draw_loss

from .records import row


@pytest.fixture
def panels(monkeypatch):
    """The axes that get a title, in order."""
    seen = []
    original = matplotlib.axes.Axes.set_title

    def remember(self, *texts, **more):
        seen.append(self)
        return original(self, *texts, **more)

    monkeypatch.setattr(matplotlib.axes.Axes, "set_title", remember)
    return seen


def many(first, last):
    return [row(step, first * (last / first) ** (step / 50), accuracy=None) for step in range(51)]


def test_no_rows_no_file(tmp_path):
    assert draw_loss([], tmp_path / "loss.png") is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [[row(1)], [row(1, math.nan, accuracy=None)], [row(1, 0.0), row(2, -1.0)], many(2, 1)])
def test_a_picture_of_any_rows(tmp_path, rows):
    path = tmp_path / "loss.png"
    assert draw_loss(rows, path) is True
    assert matplotlib.image.imread(path).shape[1] == 960
    assert [one.name for one in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize("last, scale", [(2 / 15, "linear"), (2 / 25, "log")])
def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_scale(tmp_path, panels, last, scale):
    draw_loss(many(2, last), tmp_path / "loss.png")
    assert [axes.get_yscale() for axes in panels] == [scale]


def test_training_and_validation_and_accuracy(tmp_path, panels):
    rows = [row(step, 1 / step, validation_loss=0.5 if step % 5 == 0 else None) for step in range(1, 11)]
    draw_loss(rows, tmp_path / "loss.png")
    loss, accuracy = panels
    training, validation = loss.get_lines()
    assert list(training.get_xdata()) == list(range(1, 11))
    assert list(validation.get_xdata()) == [5, 10]
    assert (loss.get_ylabel(), accuracy.get_xlabel()) == ("loss", "step")
    assert len(accuracy.get_lines()) == 1


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        draw_loss([row(1)], tmp_path / "none" / "loss.png")


def test_matplotlib_is_imported_only_to_draw():
    code = "import mpipipe.report, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
