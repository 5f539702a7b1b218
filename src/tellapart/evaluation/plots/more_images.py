"""Accuracy against the number of training images, and what twice as many would bring."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.evaluation.plots.style import (
    BLUE,
    MUTED,
    ORANGE,
    WIDTH,
    grid,
    new_figure,
    percent_axis,
    set_title,
    style,
)


def more_images(curve: LearningCurve) -> Figure:
    """Points with their intervals, and beyond them the gain of twice the images, dashed.

    The images are counted on a scale on which doubling is a step of one length.
    """
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.4)
        axes: Axes = axes_grid[0, 0]
        points = [(p.images, *p.accuracy.measured()) for p in curve.points]
        x = [images for images, *_ in points]
        y = [value for _, value, _, _ in points]
        below = [value - low for _, value, low, _ in points]
        above = [high - value for _, value, _, high in points]
        axes.errorbar(x, y, yerr=[below, above], color=BLUE, marker="o", markersize=5.5,
                      capsize=3)  # fmt: skip
        ends = [x[-1]]
        lowest = min(low for _, _, low, _ in points)
        if curve.doubled.value is not None:
            gain, low, high = curve.doubled.measured()
            twice, last = 2 * x[-1], y[-1]
            ends.append(twice)
            axes.plot([x[-1], twice], [last, last + gain], color=ORANGE, linestyle=(0, (5, 1.5)))
            axes.errorbar([twice], [last + gain], yerr=[[gain - low], [high - gain]], color=ORANGE,
                          marker="s", markersize=5.5, capsize=3)  # fmt: skip
            axes.annotate("twice", (twice, last + low), (0, -6), textcoords="offset points",
                          ha="center", va="top")  # fmt: skip
            lowest = min(lowest, last + low)
        axes.set_xscale("log", base=2)
        axes.set_xticks([*x, *ends[1:]])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(
            xlim=(x[0] / 1.25, ends[-1] * 1.3),
            ylim=(max(0.0, lowest - 0.08 * (1 - lowest)), 1 + 0.04 * (1 - lowest)),
        )
        axes.axhline(1.0, color=MUTED, linewidth=0.6)
        set_title(figure, f"What more images would buy ({curve.splits} divisions)")
        axes.set_xlabel("images to train on")
        axes.set_ylabel("accuracy on other images")
        percent_axis(axes.yaxis)
        grid(axes)
    return figure
