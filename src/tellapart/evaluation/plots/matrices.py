"""The confusion matrix: of up to 100 classes whole, of more the part where the mistakes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tellapart.evaluation.plots.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    new_figure,
    set_title,
    shorten,
    style,
    title_with_part,
)
from tellapart.wording import percent

#: Up to here a cell shows count and share, up to the next one the share alone.
_BOTH, _ONE = 10, 25
#: Up to here all classes are drawn; of more, this many of those with the most mistakes.
_WHOLE, _MOST_CONFUSED = 100, 60


def confusion_matrix(
    matrix: NDArray[np.int64] | Sequence[Sequence[int]], classes: Sequence[str], part: str
) -> Figure:
    """Counts and shares of each true class (rows) by prediction (columns).

    Blue is right, orange wrong; the darker, the larger the share of the true class. With
    more than 25 classes the colour alone speaks. Of more than 100 classes the 60 with the most
    mistakes are drawn, which bounds the memory that the figure takes.

    Args:
        matrix: int (C, C), row true, column predicted.
        classes: C names.
        part: the part it was counted on, for the title.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    images, what = int(counts.sum()), "Confusion matrix"
    totals = counts.sum(axis=1, keepdims=True)
    if len(classes) > _WHOLE:
        chosen = most_confused(counts, _MOST_CONFUSED)
        what += f": the {len(chosen)} most confused of {len(classes):,} classes"
        counts, totals = counts[np.ix_(chosen, chosen)], totals[chosen]
        classes = [classes[index] for index in chosen.tolist()]
    size = len(classes)
    shares = counts / np.maximum(totals, 1)
    longest = 26 if size <= _ONE else 20
    names = [shorten(name, longest) for name in classes]
    cell = 1.15 if size <= 4 else 0.62 if size <= _BOTH else 0.36 if size <= _ONE else 0.135
    margin = 0.075 * max(len(name) for name in names) * (1.0 if size <= _ONE else 0.7)
    with style():
        side = cell * size
        figure, grid = new_figure(
            max(4.3, side + margin + 0.9), max(2.6, side + (margin if size > 4 else 0.3) + 1.0)
        )
        axes: Axes = grid[0, 0]
        axes.imshow(_colours(shares), interpolation="none", aspect="equal")
        set_title(figure, title_with_part(what, part, images))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        font = 9.0 if size <= _BOTH else 7.5 if size <= _ONE else 5.5
        axes.set_xticks(range(size), names, fontsize=font, color=INK)
        axes.set_yticks(range(size), names, fontsize=font, color=INK)
        if size > 4:
            for label in axes.get_xticklabels():
                label.set(
                    rotation=45 if size <= _ONE else 90,
                    rotation_mode="anchor",
                    ha="right",
                    va="center",
                )
        axes.tick_params(length=0, pad=4)
        for spine in axes.spines.values():
            spine.set_visible(False)
        edges = np.arange(size + 1) - 0.5
        width = 2.0 if size <= _BOTH else 1.0 if size <= _ONE else 0.3
        axes.hlines(edges, -0.5, size - 0.5, color="white", linewidth=width)
        axes.vlines(edges, -0.5, size - 0.5, color="white", linewidth=width)
        if size <= _ONE:
            _write_cells(axes, counts, shares, both=size <= _BOTH)
    return figure


def most_confused(counts: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Indices, ascending, of the classes with the most mistakes in their row and column.

    >>> most_confused(np.array([[5, 0, 0], [0, 3, 2], [0, 1, 4]]), 2)
    array([1, 2])
    """
    wrong = counts - np.diag(np.diag(counts))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    order = np.argsort(-mistakes, kind="stable")[:number]
    chosen: NDArray[np.int64] = np.sort(order)
    return chosen


def _colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB (C, C, 3): blue on the diagonal, orange off it; the power lifts small shares."""
    strength = np.where(shares > 0, 0.05 + 0.95 * shares**0.6, 0.0)[..., None]
    base = np.array([0.955, 0.962, 0.968])
    right = np.eye(len(shares), dtype=bool)[..., None]
    target = np.where(right, _rgb(BLUE) * 0.82, _rgb(ORANGE) * 0.92)
    colours: NDArray[np.float64] = base + (target - base) * strength
    return colours


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def _write_cells(
    axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], both: bool
) -> None:
    size = len(counts)
    large = 13.0 if size <= 4 else 9.0 if size <= _BOTH else 7.0
    for row in range(size):
        for column in range(size):
            count, share = int(counts[row, column]), float(shares[row, column])
            if count == 0 and size > 4:
                continue
            dark = share > (0.35 if row == column else 0.6)
            colour = "white" if dark else INK
            if not both:
                axes.text(
                    column,
                    row,
                    percent(share, 0).removesuffix(" %"),
                    ha="center",
                    va="center",
                    fontsize=large,
                    color=colour,
                )
                continue
            axes.annotate(
                f"{count:,}",
                (column, row),
                (0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=large,
                fontweight="bold",
                color=colour,
            )
            axes.annotate(
                percent(share),
                (column, row),
                (0, -2),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8.5 if size <= 4 else 6.5,
                color="white" if dark else MUTED,
            )
