"""Curves of one part: ROC, precision and recall, calibration, confidence, coverage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tellapart.evaluation.calibration import BINS, reliability
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.plots.style import (
    BLUE,
    INK,
    LINE,
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
    thin,
    title_with_part,
)
from tellapart.evaluation.ranking import (
    average_precision,
    precision_recall_points,
    roc_auc,
    roc_points,
)
from tellapart.wording import percent

#: Up to so many classes each has its own colour; of more, the worst three are coloured.
_COLOURED = 8
#: A class with fewer images than this has no curve: its few steps would say nothing.
FEWEST_IMAGES = 10
#: So many of the other classes are drawn in grey; the lowest of them.
_GREY = 60

_Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def roc_curves(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    part: str,
) -> Figure:
    """Hits against false alarms for each class against the rest, with its area.

    Two classes share one curve (that of the second). Classes with fewer than ten images are
    left out.

    Args:
        labels: int64 (N,), index into ``classes``; images with -1 do not count.
        probabilities: float64 (N, C).
        classes: C names.
        part: for the title.
    """

    def points(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        false_alarms, hits, _ = roc_points(truth, scores)
        return false_alarms, hits

    with style():
        figure, axes_grid = new_figure(WIDTH, 3.7)
        axes: Axes = axes_grid[0, 0]
        curves = _one_against_rest(labels, probabilities, classes, points, roc_auc)
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.text(0.66, 0.63, "chance", color=MUTED, ha="left", va="top")
        _draw(axes, curves, legend_at="lower right", what="area")
        _enlarge_corner(axes, curves, (0.24, 0.42), right=False)
        set_title(figure, title_with_part("ROC curve", part, int((labels >= 0).sum())))
        axes.set_xlabel("false alarms (share of the others)")
        axes.set_ylabel("hits (share found)")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        _finish_square(axes)
    return figure


def precision_recall_curves(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    part: str,
) -> Figure:
    """Precision against recall for each class, with its average precision.

    With two classes both have a curve of their own. Arguments as for :func:`roc_curves`.
    """

    def points(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Curve:
        recall, precision, _ = precision_recall_points(truth, scores)
        # From no recall on, at the precision of the most certain image.
        return np.append(0.0, recall), np.append(precision[0], precision)

    with style():
        figure, axes_grid = new_figure(WIDTH, 3.7)
        axes: Axes = axes_grid[0, 0]
        curves = _one_against_rest(
            labels, probabilities, classes, points, average_precision, both_of_two=True
        )
        _draw(axes, curves, legend_at="lower left", what="average precision")
        _enlarge_corner(axes, curves, (0.38, 0.42), right=True)
        set_title(figure, title_with_part("Precision and recall", part, int((labels >= 0).sum())))
        axes.set_xlabel("recall (share found)")
        axes.set_ylabel("precision (share that is right)")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        _finish_square(axes)
    return figure


def calibration_diagram(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], part: str
) -> Figure:
    """Accuracy against confidence in bins with 95 % intervals, and how many images each has.

    Points below the diagonal are overconfident, above it underconfident.

    Args:
        confidence: float64 (N,), the probability of the predicted class.
        correct: bool (N,).
        part: for the title.
    """
    rows = reliability(confidence, correct)
    with style():
        figure, axes_grid = new_figure(
            WIDTH, 4.3, rows=2, sharex=True, gridspec_kw={"height_ratios": (3.2, 1)}
        )
        axes: Axes = axes_grid[0, 0]
        below: Axes = axes_grid[1, 0]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
        x = np.array([row.confidence for row in rows])
        y = np.array([row.accuracy for row in rows])
        limits = np.array(
            [wilson(round(row.accuracy * row.images), row.images) for row in rows]
        ).reshape(-1, 2)
        axes.vlines(x, y, x, color=ORANGE, linewidth=5, alpha=0.35)
        axes.vlines(x, limits[:, 0], limits[:, 1], color=BLUE, linewidth=1.3)
        axes.plot(
            x,
            y,
            "o",
            color=BLUE,
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=0.7,
            linestyle="none",
        )
        start = max(0.0, np.floor((x.min() if len(x) else 0.0) * 10) / 10 - 0.02)
        lowest = max(0.0, min(start, limits[:, 0].min() if len(x) else 0.0) - 0.02)
        axes.set(xlim=(start, 1.012), ylim=(lowest, 1.03), ylabel="accuracy")
        axes.text(0.02, 0.95, "underconfident", transform=axes.transAxes, color=MUTED, va="top")
        axes.text(0.98, 0.05, "overconfident", transform=axes.transAxes, color=MUTED, ha="right")
        set_title(figure, title_with_part("Calibration", part, len(confidence)))
        widths = 0.84 / BINS
        centres = np.array([(row.low + row.high) / 2 for row in rows])
        images = [row.images for row in rows]
        below.bar(centres, images, width=widths, color=BLUE)
        below.set_ylim(0, 1.25 * max(images, default=1))
        for centre, count in zip(centres, images, strict=True):
            below.annotate(
                f"{count:,}",
                (centre, count),
                (0, 2),
                textcoords="offset points",
                ha="center",
                color=MUTED,
            )
        below.set(ylabel="images", xlabel="confidence (probability of the prediction)")
        for each in (axes, below):
            grid(each, "y")
        percent_axis(axes.xaxis, 0)
        percent_axis(axes.yaxis, 0)
        figure.align_ylabels([axes, below])
    return figure


def probability_histogram(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], part: str
) -> Figure:
    """How sure the classifier was, of its right answers (up) and its mistakes (down).

    Arguments as for :func:`calibration_diagram`.
    """
    start = float(np.floor((confidence.min() if len(confidence) else 0.0) * 20) / 20)
    edges = np.linspace(min(start, 0.95), 1.0, 26)
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.5, rows=2, sharex=True)
        for axes, mask, colour, word in (
            (axes_grid[0, 0], correct, BLUE, "right"),
            (axes_grid[1, 0], ~correct, ORANGE, "wrong"),
        ):
            axes.hist(
                confidence[mask],
                bins=edges,
                color=colour,
                rwidth=0.88,
                hatch=None if word == "right" else "////",
                edgecolor="white",
            )
            axes.set_ylabel("images")
            count = int(mask.sum())
            axes.text(
                0.01,
                0.92,
                f"{count:,} {word}",
                transform=axes.transAxes,
                fontweight="bold",
                va="top",
                color=INK,
            )
            _whole_numbers(axes.yaxis)
            axes.set_ylim(0, 1.25 * max(axes.get_ylim()[1], 1.0))
            grid(axes, "y")
        set_title(figure, title_with_part("Confidence", part, len(confidence)))
        axes_grid[1, 0].set_xlabel("confidence (probability of the prediction)")
        percent_axis(axes_grid[1, 0].xaxis, 0)
        figure.align_ylabels(list(axes_grid[:, 0]))
    return figure


def coverage_curve(
    coverage: NDArray[np.float64], accuracy: NDArray[np.float64], part: str, images: int
) -> Figure:
    """Accuracy on the images it is surest of, when the rest goes to a person.

    Args:
        coverage: float64 (K,), share of images kept, rising, the last is 1.
        accuracy: float64 (K,), among the images kept.
        part, images: for the title and the 95 % band.
    """
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.4)
        axes: Axes = axes_grid[0, 0]
        x, y = thin(coverage, accuracy)
        band = np.array(
            [wilson(a * c * images, max(c * images, 1.0)) for c, a in zip(x, y, strict=True)]
        ).reshape(-1, 2)
        # Of the first few images an accuracy says nothing.
        shown = x >= 0.05 if (x >= 0.05).sum() > 5 else np.ones(len(x), bool)
        axes.fill_between(x[shown], band[shown, 0], band[shown, 1], color=BLUE, alpha=0.16)
        axes.plot(x[shown], y[shown], color=BLUE)
        lowest = band[shown, 0][x[shown] >= 0.1].min() if (x[shown] >= 0.1).any() else 0.0
        low = max(0.0, lowest - 0.12 * (1 - lowest))
        axes.set(xlim=(0, 1.0), ylim=(low, 1 + 0.04 * (1 - low)))
        # A step of the axis apart at least, so that no number covers another.
        apart = 0.08 * (1.04 - low)
        places = np.searchsorted(coverage, (1.0, 0.9, 0.8)).clip(0, len(coverage) - 1).tolist()
        if abs(accuracy[places[1]] - accuracy[places[0]]) < apart or (
            abs(accuracy[places[2]] - accuracy[places[1]]) < apart
        ):
            del places[1]
        for at in places:
            axes.plot(
                coverage[at],
                accuracy[at],
                "o",
                color=BLUE,
                markersize=5.5,
                markeredgecolor="white",
                clip_on=False,
                zorder=5,
            )
            axes.annotate(
                percent(accuracy[at]),
                (coverage[at], accuracy[at]),
                (-7, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontweight="bold",
            )
        set_title(figure, title_with_part("Uncertain ones set aside", part, images))
        axes.set_xlabel("share answered, the most certain first")
        axes.set_ylabel("accuracy of the answers")
        percent_axis(axes.xaxis, 0)
        percent_axis(axes.yaxis)
        grid(axes)
    return figure


# --- one class against the rest ---------------------------------------------------------------


def _one_against_rest(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    points: Callable[[NDArray[np.bool_], NDArray[np.float64]], _Curve],
    area: Callable[[NDArray[np.bool_], NDArray[np.float64]], tuple[float, Any]],
    both_of_two: bool = False,
) -> list[tuple[str, float, _Curve]]:
    """(name, area, curve) of each class that enough images belong to, and enough do not."""
    known = labels >= 0
    labels, probabilities = labels[known], probabilities[known]
    curves = []
    for index, name in enumerate(classes):
        truth = labels == index
        if len(classes) == 2 and index == 0 and not both_of_two:
            continue
        if min(truth.sum(), (~truth).sum()) >= FEWEST_IMAGES:
            scores = probabilities[:, index]
            curves.append((name, area(truth, scores)[0], points(truth, scores)))
    return curves


def _draw(axes: Axes, curves: list[tuple[str, float, _Curve]], legend_at: Any, what: str) -> None:
    """All curves; of many, the three worst stand out and the others stay grey."""
    chosen = curves
    if len(curves) > _COLOURED:
        chosen = sorted(curves, key=lambda curve: curve[1])[:3]
        worst = {name for name, *_ in chosen}
        rest = [curve for curve in curves if curve[0] not in worst]
        drawn = sorted(rest, key=lambda curve: curve[1])[:_GREY] if len(rest) > _GREY else rest
        others = (
            f"the other {len(rest)} classes"
            if drawn is rest
            else (f"the next {len(drawn)} of {len(rest):,} others")
        )
        for i, (_, _, curve) in enumerate(drawn):
            axes.plot(
                *thin(*curve, 60),
                color="#aeb6bd",
                linewidth=0.7,
                alpha=0.8,
                label=others if i == 0 else None,
            )
    for (name, area, curve), line in zip(chosen, line_styles(len(chosen)), strict=True):
        label = f"{shorten(name)}  {area:.3f}"
        axes.plot(*thin(*curve), label=label, **line)
    if legend_at and curves:
        mean = float(np.mean([area for _, area, _ in curves]))
        heading = what if len(curves) == 1 else f"{what} (mean {mean:.3f})"
        if len(curves) > _COLOURED:
            heading += "\nthe three lowest:"
        legend = axes.legend(loc=legend_at, title=heading, alignment="left")
        legend.get_title().set_color(MUTED)


def _enlarge_corner(
    axes: Axes,
    curves: list[tuple[str, float, _Curve]],
    at: tuple[float, float],
    right: bool,
) -> None:
    """The corner, five times as large, if all curves run there and leave the middle empty.

    Of many classes the legend is too tall for it.
    """
    side = 0.36
    # With the room that its numbers (left) and title (above) take.
    across = np.linspace(at[0] - 0.17, at[0] + side + 0.04, 100)
    top = at[1] + side + 0.1
    in_corner = [
        area > 0.93 and bool((np.interp(across, *curve) >= top).all()) for _, area, curve in curves
    ]
    if not curves or len(curves) > _COLOURED or not all(in_corner):
        return
    corner = axes.inset_axes((*at, side, side))
    _draw(corner, curves, legend_at=None, what="")
    corner.set(xlim=(0.8, 1.004) if right else (-0.004, 0.2), ylim=(0.8, 1.004))
    _finish_square(corner)
    corner.set_title("the corner, enlarged", pad=4, color=MUTED, loc="left")
    corner.set_facecolor("white")
    corner.set_xticks([0.8, 0.9, 1.0] if right else [0, 0.1, 0.2])
    corner.set_yticks([0.9, 1.0])
    for spine in corner.spines.values():
        spine.set_visible(True)


def _finish_square(axes: Axes) -> None:
    percent_axis(axes.xaxis, 0)
    percent_axis(axes.yaxis, 0)
    grid(axes)


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
