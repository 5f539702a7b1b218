"""Bars and points: the data, the classes, and several runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tellapart.evaluation.metric_table import CLASS_METRICS, ClassMetrics
from tellapart.evaluation.plots.style import (
    BLUE,
    COLOURS,
    INK,
    LINE,
    MARKERS,
    MUTED,
    ORANGE,
    WIDTH,
    grid,
    new_figure,
    percent_axis,
    set_title,
    shorten,
    style,
    title_with_part,
    whiskers,
)
from tellapart.number import Number
from tellapart.wording import percent

#: Fill and hatch of each part, the same in every figure.
_PARTS: Mapping[str, tuple[str, str | None]] = {
    "train": (ORANGE, None),
    "validation": ("#6ab4e4", "////"),
    "test": (BLUE, None),
}

#: Bars of more classes than these would make a figure longer than any page.
MAXIMUM_BARS = 30


def class_counts(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """How many images of each class each part holds.

    Args:
        counts: for each part C counts, in the order of ``classes``.
        classes: C names; of more than 30 those with the fewest images are drawn.
    """
    parts = {part: np.asarray(values) for part, values in counts.items() if np.any(values)}
    number, title = len(classes), "Images in each class: " + ", ".join(parts)
    if number > MAXIMUM_BARS and parts:
        totals = np.sum(list(parts.values()), axis=0)
        chosen = np.sort(np.argsort(totals, kind="stable")[:MAXIMUM_BARS])
        parts = {part: values[chosen] for part, values in parts.items()}
        classes = [classes[index] for index in chosen.tolist()]
        title = f"Images in the {MAXIMUM_BARS} smallest of {number:,} classes"
    with style():
        figure, axes_grid = new_figure(WIDTH, _height(len(classes)))
        axes: Axes = axes_grid[0, 0]
        left = np.zeros(len(classes), dtype=np.int64)
        rows = np.arange(len(classes))
        for part, values in parts.items():
            colour, hatch = _part_style(part)
            axes.barh(
                rows,
                values,
                left=left,
                height=0.72,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
                label=f"{part} ({values.sum():,})",
            )
            left = left + values
        for row, total in enumerate(left):
            axes.annotate(
                f"{total:,}", (total, row), (4, 0), textcoords="offset points", va="center"
            )
        _name_rows(axes, classes)
        set_title(figure, title)
        axes.set_xlabel("images")
        axes.set_xlim(0, 1.1 * max(int(left.max(initial=0)), 1))
        grid(axes, "x")
        _legend_below(figure, axes, len(parts))
    return figure


def per_class_bars(
    per_class: Mapping[str, ClassMetrics], part: str, metric: str = "recall"
) -> Figure:
    """One metric of each class with its interval, the worst class on top.

    Args:
        per_class: by class name; classes where the metric is undefined are left out, and of more
            than 30 all but the worst.
        part: for the title.
        metric: one of ``CLASS_METRICS``.
    """
    shown = next(row for row in CLASS_METRICS if row.path == metric)
    known = [
        (name, row.support, shown.of(row)) for name, row in per_class.items() if shown.of(row).known
    ]
    known.sort(key=lambda item: float(item[2].value))
    number, known = len(known), known[:MAXIMUM_BARS]
    word = shown.title
    with style():
        figure, axes_grid = new_figure(WIDTH, _height(len(known)))
        axes: Axes = axes_grid[0, 0]
        value, errors = whiskers([number for *_, number in known])
        rows = np.arange(len(known))
        axes.hlines(rows, value - errors[0], value + errors[1], color=BLUE, linewidth=1.4)
        size = 6.0 if len(known) <= 30 else 3.5
        axes.plot(value, rows, "o", color=BLUE, markersize=size, markeredgecolor="white")
        _name_rows(axes, [f"{shorten(name)}  ({images:,})" for name, images, _ in known], 40)
        set_title(
            figure,
            title_with_part(
                f"{word} of each class"
                if number == len(known)
                else f"{word} of the {len(known)} worst of {number:,} classes",
                part,
            ),
        )
        label = word.lower() if metric == "recall" else word
        axes.set_xlabel(f"{label}, 95 % interval (images)")
        lowest = float(np.nanmin(value - errors[0])) if len(known) else 0.0
        axes.set_xlim(max(0.0, lowest - 0.06 * (1.0 - lowest)), 1.0 + 0.02 * (1.0 - lowest))
        percent_axis(axes.xaxis)
        grid(axes)
    return figure


def compare_accuracy_bars(
    names: Sequence[str], accuracies: Mapping[str, Sequence[Number]]
) -> Figure:
    """Accuracy of each run with its interval, parts (train, test) side by side.

    Args:
        names: R runs, top to bottom.
        accuracies: for each part R numbers; undefined ones are skipped.
    """
    parts = list(accuracies)
    with style():
        figure, axes_grid = new_figure(WIDTH, 1.1 + len(names) * (0.16 + 0.24 * len(parts)))
        axes: Axes = axes_grid[0, 0]
        height = 0.8 / max(len(parts), 1)
        for i, part in enumerate(parts):
            value, errors = whiskers(accuracies[part])
            rows = np.arange(len(names)) + (i - (len(parts) - 1) / 2) * height
            colour, hatch = _part_style(part)
            axes.barh(
                rows,
                np.nan_to_num(value),
                height=height * 0.92,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
                label=part,
            )
            axes.hlines(rows, value - errors[0], value + errors[1], color=INK, linewidth=1.1)
            for row, number, above in zip(rows, value, errors[1], strict=True):
                if np.isfinite(number):
                    axes.annotate(
                        percent(number),
                        (number + above, row),
                        (5, 0),
                        textcoords="offset points",
                        va="center",
                    )
        _name_rows(axes, names, 40)
        set_title(figure, f"Accuracy on {' and '.join(parts)}")
        axes.set_xlim(0, 1.13)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_xlabel("accuracy with 95 % interval")
        percent_axis(axes.xaxis, 0)
        grid(axes, "x")
        _legend_below(figure, axes, len(parts))
    return figure


def accuracy_against_parameters(
    names: Sequence[str], parameters: Sequence[float], accuracies: Sequence[Number], part: str
) -> Figure:
    """Accuracy of each run against its trainable parameters (logarithmic)."""
    return _accuracy_against(
        names,
        parameters,
        accuracies,
        f"Accuracy against trainable parameters: {part}",
        "trainable parameters",
        _short_count,
        [step * 10.0**power for power in range(13) for step in (1, 2, 5)],
    )


def accuracy_against_seconds(
    names: Sequence[str], seconds: Sequence[float], accuracies: Sequence[Number], part: str
) -> Figure:
    """Accuracy of each run against how long it trained (logarithmic)."""
    return _accuracy_against(
        names,
        seconds,
        accuracies,
        f"Accuracy against training time: {part}",
        "training time",
        _short_time,
        _TIMES,
    )


def _accuracy_against(
    names: Sequence[str],
    amounts: Sequence[float],
    accuracies: Sequence[Number],
    title: str,
    label: str,
    form: Any,
    ticks: Sequence[float],
) -> Figure:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    value, errors = whiskers(accuracies)
    x = np.maximum(np.asarray(amounts, dtype=np.float64), 1e-3)
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.8)
        axes: Axes = axes_grid[0, 0]
        for i, name in enumerate(names):
            colour = COLOURS[i % len(COLOURS)]
            axes.vlines(
                x[i], value[i] - errors[0, i], value[i] + errors[1, i], color=colour, linewidth=1.3
            )
            axes.plot(
                x[i],
                value[i],
                MARKERS[i % len(MARKERS)],
                color=colour,
                markersize=7.5,
                markeredgecolor="white",
                label=shorten(name, 30),
                zorder=4,
            )
        axes.set_xscale("log")
        axes.set_xlim(x.min() / 2.2, x.max() * 2.2)
        axes.xaxis.set_major_locator(FixedLocator(_some(ticks, *axes.get_xlim())))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: form(number)))
        set_title(figure, title)
        axes.set(xlabel=label, ylabel="accuracy")
        percent_axis(axes.yaxis)
        grid(axes)
        figure.legend(loc="outside lower left", ncols=1 if max(map(len, names)) > 18 else 2)
    return figure


def embedding_map(
    points: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    part: str,
    wrong: NDArray[np.bool_] | None = None,
) -> Figure:
    """Images as points, near each other where the network sees them alike; mistakes ringed.

    Args:
        points: float (N, 2).
        labels: int64 (N,), true classes.
        classes: C names.
        part: for the title.
        wrong: bool (N,), images that the classifier got wrong.
    """
    many = len(points) > 1500
    with style():
        figure, axes_grid = new_figure(WIDTH, 4.8)
        axes: Axes = axes_grid[0, 0]
        size = 16 if not many else 7
        for index, name in enumerate(classes):
            mask = labels == index
            if not mask.any():
                continue
            marker = MARKERS[(index // len(COLOURS) + index) % len(MARKERS)]
            axes.scatter(
                points[mask, 0],
                points[mask, 1],
                s=size,
                marker=marker,
                color=COLOURS[index % len(COLOURS)],
                alpha=0.75,
                linewidths=0,
                label=shorten(name),
                rasterized=many,
            )
        if wrong is not None and wrong.any():
            axes.scatter(
                points[wrong, 0],
                points[wrong, 1],
                s=46,
                facecolors="none",
                edgecolors=INK,
                linewidths=1.0,
                label=f"mistake ({int(wrong.sum()):,})",
                rasterized=many,
            )
        set_title(figure, title_with_part("Map of the features", part, len(points)))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, color=LINE)
        if len(classes) <= 20:
            figure.legend(loc="outside lower left", ncols=2, markerscale=1.4)
        else:
            for index, name in enumerate(classes):
                if (labels == index).any():
                    centre = np.median(points[labels == index], axis=0)
                    axes.text(
                        centre[0],
                        centre[1],
                        shorten(name, 14),
                        ha="center",
                        va="center",
                        fontweight="bold",
                        bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.8},
                    )
    return figure


#: Round times in seconds, from a tenth of a second to a week.
_TIMES = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    18000,
    36000,
    86400,
    172800,
    604800,
)


# --- pieces ---------------------------------------------------------------------------------------


def _part_style(part: str) -> tuple[str, str | None]:
    return _PARTS.get(part, ("#4a4f57", None))


def _height(rows: int) -> float:
    return 1.25 + rows * (0.3 if rows <= 12 else 0.2)


def _name_rows(axes: Axes, names: Sequence[str], longest: int = 26) -> None:
    """Names along the left, the first on top."""
    shown = [shorten(name, longest) for name in names]
    axes.set_yticks(range(len(names)), shown, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _legend_below(figure: Figure, axes: Axes, entries: int) -> None:
    if entries > 1:
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="outside lower right",
            ncols=entries,
            labelcolor=MUTED,
        )


def _some(ticks: Sequence[float], low: float, high: float) -> list[float]:
    """Round numbers within the axis, so few that their labels stay apart."""
    within = [tick for tick in ticks if low <= tick <= high]
    if len(within) > 5:  # of 1, 2, 5 only the 1s
        ones = [tick for tick in within if f"{tick:e}".startswith("1.0")]
        within = ones if len(ones) > 2 else within[::2]
    return within[:: -(-len(within) // 5) or 1]


def _short_count(number: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def _short_time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
