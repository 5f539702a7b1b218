"""Images against those of training: how far each is, and how frequent each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tellapart.evaluation.plots.style import (
    BLUE,
    INK,
    ORANGE,
    WIDTH,
    grid,
    new_figure,
    set_title,
    style,
)
from tellapart.wording import shortened

#: Classes that a figure has room for.
MOST_CLASSES = 12


def distance_histogram(
    asked: NDArray[np.float64], known: NDArray[np.float64], threshold: float
) -> Figure:
    """How far images are from the training images, beside images of the run.

    Args:
        asked: float64 (N,), of the images in question.
        known: float64 (M,), of validation images, and of training images from the others.
        threshold: from here on an image is called unknown.
    """
    both = np.concatenate([asked, known, [threshold]])
    edges = np.linspace(min(both.min(), threshold), both.max() + 1e-9, 25)
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.0)
        axes = axes_grid[0, 0]
        axes.hist(
            known,
            edges,
            weights=np.full(len(known), 1 / len(known)),
            color=BLUE,
            alpha=0.55,
            label="images of the run",
        )
        axes.hist(
            asked,
            edges,
            weights=np.full(len(asked), 1 / len(asked)),
            histtype="step",
            color=ORANGE,
            linewidth=1.8,
            label="these images",
        )
        axes.axvline(threshold, color=INK, linestyle=(0, (5, 1.5)), linewidth=1.0)
        axes.annotate(
            "unknown →",
            (threshold, 1),
            xycoords=("data", "axes fraction"),
            ha="left",
            va="bottom",
            color=INK,
            xytext=(0, 1),
            textcoords="offset points",
        )
        axes.set(xlabel="distance from the nearest training images", ylabel="share of images")
        figure.legend(loc="outside lower center", ncols=2)
        grid(axes)
        set_title(figure, "How far from the training images")
    return figure


def share_bars(names: Sequence[str], asked: Sequence[float], known: Sequence[float]) -> Figure:
    """How frequent each class is among the answers, those that moved most where they are many."""
    order = np.argsort([-abs(a - k) for a, k in zip(asked, known, strict=True)], kind="stable")
    rows = sorted(order[:MOST_CLASSES].tolist())
    with style():
        figure, axes_grid = new_figure(WIDTH, 1.5 + 0.4 * len(rows))
        axes = axes_grid[0, 0]
        places = np.arange(len(rows))
        axes.barh(places - 0.19, [100 * known[row] for row in rows], 0.36, color=BLUE,
                  label="validation images")  # fmt: skip
        axes.barh(places + 0.19, [100 * asked[row] for row in rows], 0.36, color=ORANGE,
                  label="these images")  # fmt: skip
        axes.set_yticks(places, [shortened(names[row], 18) for row in rows])
        axes.invert_yaxis()
        axes.set(xlabel="% of the images")
        figure.legend(loc="outside lower center", ncols=2)
        grid(axes, "x")
        set_title(figure, "How frequent each answer is")
    return figure
