"""The course of a search: validation accuracy against time, each candidate a point."""

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
    percent_axis,
    set_title,
    style,
    whiskers,
)
from tellapart.number import Number


def candidates_over_time(
    minutes: Sequence[float], accuracies: Sequence[Number], best: Sequence[bool],
    numbers: Sequence[int],
) -> Figure:  # fmt: skip
    """A point for each candidate with its interval, and a line for the best so far.

    Args:
        minutes: when each was over, ascending.
        accuracies: on validation.
        best: whether it became the best so far.
        numbers: by which the candidates go in the table.
    """
    values = np.array([number.measured()[0] for number in accuracies])
    with style():
        figure, axes_grid = new_figure(WIDTH, 2.8)
        axes = axes_grid[0, 0]
        for chosen, colour in ((False, MUTED), (True, ORANGE)):
            rows = np.flatnonzero(np.array(best) == chosen)
            if len(rows):
                shown, lengths = whiskers([accuracies[row] for row in rows.tolist()])
                axes.errorbar(
                    np.array(minutes)[rows],
                    shown,
                    yerr=lengths,
                    fmt="o",
                    markersize=5,
                    color=colour,
                    elinewidth=1.0,
                    capsize=2,
                    zorder=3,
                )
        for minute, value, number in zip(minutes, values, numbers, strict=True):
            axes.annotate(str(number), (minute, value), xytext=(5, 4),
                          textcoords="offset points", color=INK)  # fmt: skip
        held = np.flatnonzero(best)
        ends = [*np.array(minutes)[held], max(minutes)]
        axes.step(ends, [*values[held], values[held[-1]]], where="post", color=BLUE, zorder=2)
        axes.set(xlabel="minutes", ylabel="validation accuracy")
        axes.set_xlim(left=0)
        percent_axis(axes.yaxis)
        grid(axes)
        set_title(figure, "Validation accuracy against time; the line is the best so far")
    return figure
