"""loss.png: how the loss went, and the accuracy where there is one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpipipe.report.metrics import MetricsRow
from mpipipe.report.replace import replacing

LOG_FACTOR = 20
TRAINING, VALIDATION = "#0072b2", "#d55e00"


def draw_loss(rows: Sequence[MetricsRow], path: Path) -> bool:
    """Draw training and validation values over the steps into a PNG file. False, and no file, where no row is.

    The loss is drawn on a logarithmic scale where it spans more than a factor of 20. Raises UserError.
    """
    if not rows:
        return False
    # matplotlib takes half a second to import, and most commands draw nothing.
    from matplotlib.figure import Figure

    accuracies = _points(rows, "accuracy"), _points(rows, "validation_accuracy")
    panels = 2 if any(accuracies) else 1
    figure = Figure(figsize=(8, 1.4 + 2.6 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    losses = _points(rows, "loss"), _points(rows, "validation_loss")
    _panel(axes[0], "Loss", "loss", *losses)
    values = [value for _, value in losses[0] + losses[1]]
    if values and min(values) > 0 and max(values) > LOG_FACTOR * min(values):
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter("{x:g}")
    if panels == 2:
        _panel(axes[1], "Accuracy", "fraction correct", *accuracies)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    return True


Points = list[tuple[int, float]]


def _points(rows: Sequence[MetricsRow], key: str) -> Points:
    pairs = [(row.step, getattr(row, key)) for row in rows]
    return [(step, value) for step, value in pairs if value is not None and math.isfinite(value)]


def _panel(axes: Any, title: str, label: str, training: Points, validation: Points) -> None:
    if training:
        marker = "o" if len(training) == 1 else ""
        axes.plot(*zip(*training, strict=True), color=TRAINING, linewidth=1, marker=marker, label="training")
    if validation:
        axes.plot(*zip(*validation, strict=True), color=VALIDATION, marker="o", markersize=4, label="validation")
    axes.set_title(title)
    axes.set_ylabel(label)
    axes.grid(True, which="both", alpha=0.25)
    if training or validation:
        axes.legend()
