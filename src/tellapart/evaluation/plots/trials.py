"""The course of a tuning: what each trial came to, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tellapart.evaluation.plots.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    WIDTH,
    grid,
    new_figure,
    set_title,
    style,
)


def trials_over_time(
    minutes: Sequence[float], values: Sequence[float], own: float | None, title: str
) -> Figure:
    """A point for each trial that came to its end, and a line for the best so far.

    Args:
        minutes: of tuning when the trial ended, ascending.
        values: what is made small, such as the log loss on validation.
        own: the same of the recipe as it stands; None: not measured.
        title: what ``values`` are.
    """
    with style():
        figure, axes_grid = new_figure(WIDTH, 2.6)
        axes = axes_grid[0, 0]
        if own is not None:
            axes.axhline(own, color=ORANGE, linestyle=(0, (5, 1.5)), linewidth=1.2)
            axes.annotate(
                "the recipe as it is",
                (1, own),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                color=INK,
                xytext=(0, 2),
                textcoords="offset points",
            )
        axes.plot(minutes, values, linestyle="none", marker="o", markersize=4, color=MUTED)
        axes.step(minutes, np.minimum.accumulate(values), where="post", color=BLUE)
        axes.set(xlabel="minutes of tuning", ylabel=title)
        grid(axes)
        set_title(figure, f"{title[:1].upper()}{title[1:]} on validation, trial by trial")
    return figure
