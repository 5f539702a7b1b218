"""Figures of the images themselves: sizes, shapes, brightness and sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tellapart.evaluation.plots.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    WIDTH,
    grid,
    line_styles,
    new_figure,
    percent_axis,
    set_title,
    shorten,
    style,
)
from tellapart.wording import percent

#: Classes drawn with a line each; more are drawn as one.
MOST_CLASSES = 8
_ROUND_SIZES = [step * 10**power for power in range(1, 6) for step in (1, 2, 5)]


def image_sizes(widths: NDArray[np.int64], heights: NDArray[np.int64], network_size: int) -> Figure:
    """Width against height of every image; larger dots are sizes that more images have.

    Args:
        widths, heights: int64 (N,), pixels.
        network_size: side of the square that the network sees, drawn as a frame.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    sizes, counts = np.unique(np.stack([widths, heights], axis=1), axis=0, return_counts=True)
    area = 10 + 320 * counts / counts.max()
    many = len(sizes) > 800
    low = max(1.0, 0.8 * float(min(sizes.min(), network_size)))
    high = 1.25 * float(max(sizes.max(), network_size))
    with style():
        figure, axes_grid = new_figure(WIDTH, 4.4)
        axes: Axes = axes_grid[0, 0]
        axes.plot(
            [low, high],
            [low, high],
            color=MUTED,
            linewidth=0.8,
            linestyle=(0, (2, 2)),
            label="square",
        )
        frame = float(network_size)
        axes.plot(
            [low, frame, frame],
            [frame, frame, low],
            color=ORANGE,
            linewidth=1.4,
            label=f"what the network sees, {network_size} x {network_size}",
        )
        axes.scatter(
            sizes[:, 0],
            sizes[:, 1],
            s=area,
            color=BLUE,
            alpha=0.45,
            linewidths=0,
            label="images",
            rasterized=many,
        )
        axes.set(
            xscale="log",
            yscale="log",
            xlim=(low, high),
            ylim=(low, high),
            xlabel="width in pixels",
            ylabel="height in pixels",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(_ticks(low, high)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        set_title(figure, f"Sizes of {len(widths):,} images")
        grid(axes)
        legend = figure.legend(loc="outside lower right", ncols=1, labelcolor=MUTED)
        legend.legend_handles[-1]._sizes = [40]  # type: ignore[union-attr]
    return figure


def aspect_ratios(ratios: NDArray[np.float64], crop_loss: float) -> Figure:
    """How wide for their height the pictures are, and where a centre crop loses too much.

    Args:
        ratios: float64 (N,), width / height.
        crop_loss: share of a picture above which the loss is marked.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    edge = 1.0 / (1.0 - crop_loss)
    span = max(float(ratios.max()), 1.0 / float(ratios.min()), 2.0) * 1.05
    bins = np.exp(np.linspace(-np.log(span), np.log(span), 62))
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.0)
        axes: Axes = axes_grid[0, 0]
        axes.hist(
            ratios, bins=bins.tolist(), weights=np.full(len(ratios), 1 / len(ratios)), color=BLUE
        )
        for low, high in ((1 / span, 1 / edge), (edge, span)):
            axes.axvspan(low, high, color=ORANGE, alpha=0.13, linewidth=0)
        axes.set_xscale("log")
        axes.set_xlim(1 / span, span)
        named = {
            0.25: "1:4",
            1 / 3: "1:3",
            0.5: "1:2",
            0.75: "3:4",
            1.0: "1:1",
            4 / 3: "4:3",
            2.0: "2:1",
            3.0: "3:1",
            4.0: "4:1",
        }
        if span > 2.5:  # there is room for these only
            named = {value: text for value, text in named.items() if "3" not in text}
        shown = {value: text for value, text in named.items() if 1 / span < value < span}
        axes.xaxis.set_major_locator(FixedLocator(list(shown)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(list(shown.values()))
        axes.set(xlabel="width : height", ylabel="share of the images")
        loses = f"a centre crop loses\nmore than {percent(crop_loss, 0)}"
        axes.text(0.985, 0.94, loses, color=INK, transform=axes.transAxes, ha="right", va="top")
        percent_axis(axes.yaxis)
        set_title(figure, "Shapes of the images")
        grid(axes, "y")
    return figure


def looks_by_class(
    brightness: NDArray[np.floating[Any]],
    sharpness: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    classes: Sequence[str],
) -> Figure:
    """How bright and how sharp the images of each class are.

    Args:
        brightness: float (N,), 0 black to 1 white.
        sharpness: float (N,), grey levels.
        labels: int64 (N,).
        classes: C names; with more than :data:`MOST_CLASSES` all images are drawn as one.
    """
    together = len(classes) > MOST_CLASSES
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.3, columns=2)
        panels = (
            ("brightness", brightness, 1.0),
            ("sharpness", sharpness, max(1.0, float(np.percentile(sharpness, 99.5)))),
        )
        for axes, (name, values, largest) in zip(axes_grid[0], panels, strict=True):
            bins = np.linspace(0.0, largest, 33)
            if together:
                _outline(axes, values, bins, {"color": BLUE}, None)
            else:
                for index, line in enumerate(line_styles(len(classes))):
                    chosen = values[labels == index]
                    if len(chosen):
                        _outline(axes, chosen, bins, line, shorten(classes[index]))
            axes.set_xlim(0.0, largest)
            axes.set_ylim(bottom=0.0)
            axes.set_xlabel({"brightness": "brightness, 0 to 1", "sharpness": "sharpness"}[name])
            percent_axis(axes.yaxis)
            grid(axes)
        axes_grid[0, 0].set_ylabel("share of the images" if together else "share of the class")
        set_title(figure, "Brightness and sharpness" + ("" if together else " of each class"))
        if not together:
            figure.legend(
                *axes_grid[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2
            )
    return figure


def _outline(
    axes: Axes, values: NDArray[Any], bins: NDArray[np.float64], line: Any, label: str | None
) -> None:
    shares = np.histogram(values, bins)[0] / len(values)
    centres = (bins[:-1] + bins[1:]) / 2
    axes.plot(centres, shares, label=label, linewidth=1.6, **line)
    axes.fill_between(centres, shares, color=line["color"], alpha=0.08, linewidth=0)


def _ticks(low: float, high: float) -> list[float]:
    """Round sizes within the axis, at most about six."""
    within = [float(size) for size in _ROUND_SIZES if low <= size <= high]
    if not within:
        return [float(f"{np.sqrt(low * high):.2g}")]
    return within[:: -(-len(within) // 7)]
