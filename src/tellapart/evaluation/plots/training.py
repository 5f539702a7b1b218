"""How training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
)
from tellapart.wording import percent

#: A row an epoch: "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy",
#: "learning_rate"; whatever is missing is not drawn.
History = Sequence[Mapping[str, float]]

#: The names of more runs than this stand below the drawing, not on it.
LEGEND_INSIDE = 4


def learning_curves(history: History, best_epoch: int | None = None) -> Figure:
    """Loss, accuracy and learning rate over the epochs, train against validation.

    Args:
        history: a row an epoch. Where rows carry a "stage", a line parts the stages.
        best_epoch: the epoch whose weights were kept (counted like "epoch", over all
            stages); marked.
    """
    epochs = _epochs(history)
    rate = _column(history, "learning_rate")
    rows = 3 if np.isfinite(rate).any() else 2
    with style():
        figure, axes_grid = new_figure(
            WIDTH,
            2.1 * 2 + (1.0 if rows == 3 else 0.3),
            rows=rows,
            sharex=True,
            gridspec_kw={"height_ratios": (2, 2, 0.8)[:rows]},
        )
        for axes, name in zip(axes_grid[:2, 0], ("loss", "accuracy"), strict=True):
            _train_and_validation(axes, epochs, history, name, best_epoch)
        _loss_axis(axes_grid[0, 0], history)
        percent_axis(axes_grid[1, 0].yaxis)
        if rows == 3:
            axes_grid[2, 0].step(epochs, rate, where="mid", color=MUTED, linewidth=1.4)
            axes_grid[2, 0].set(yscale="log", ylabel="learning\nrate")
            _few_decades(axes_grid[2, 0], rate)
        for axes in axes_grid[:, 0]:
            grid(axes, "y")
            for boundary in _stage_starts(history, epochs):
                axes.axvline(boundary, color=LINE, linewidth=1.2, linestyle=(0, (1, 1)))
        _whole_epochs(axes_grid[-1, 0], epochs)
        set_title(figure, "Learning curves: train and validation")
        # Below the drawing: above it stand the words about the kept epoch.
        figure.legend(
            *axes_grid[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2
        )
        figure.align_ylabels(list(axes_grid[:, 0]))
    return figure


def overlay_curves(
    histories: Mapping[str, History], quantity: str = "validation_accuracy"
) -> Figure:
    """The same curve of several runs over each other, for example the validation accuracy.

    Args:
        histories: by the run's name; runs without this quantity are left out.
        quantity: a column of the history.
    """
    what = quantity.replace("_", " ")
    named = {
        name: (_epochs(history), _column(history, quantity)) for name, history in histories.items()
    }
    named = {name: pair for name, pair in named.items() if np.isfinite(pair[1]).any()}
    with style():
        figure, axes_grid = new_figure(WIDTH, 3.6)
        axes: Axes = axes_grid[0, 0]
        for (name, (epochs, values)), line in zip(
            named.items(), line_styles(len(named)), strict=True
        ):
            label = shorten(name, 34)
            axes.plot(epochs, values, label=label, **line)
            best = int(np.nanargmin(values) if "loss" in quantity else np.nanargmax(values))
            axes.plot(
                epochs[best],
                values[best],
                "o",
                color=line["color"],
                markersize=6,
                markeredgecolor="white",
                zorder=5,
            )
        set_title(figure, f"{what[:1].upper()}{what[1:]} of each run (dot: its best epoch)")
        axes.set(xlabel="epoch", ylabel=what)
        if "accuracy" in quantity:
            percent_axis(axes.yaxis)
        grid(axes, "y")
        if named:
            _whole_epochs(axes, np.concatenate([pair[0] for pair in named.values()]))
        if len(named) > LEGEND_INSIDE:
            longest = max(len(shorten(name, 34)) for name in named)
            figure.legend(loc="outside lower left", ncols=1 if longest > 18 else 2)
        elif named:
            axes.legend(loc="lower right" if "accuracy" in quantity else "upper right")
    return figure


def _train_and_validation(
    axes: Axes, epochs: NDArray[np.float64], history: History, name: str, best_epoch: int | None
) -> None:
    train, validation = _column(history, name), _column(history, f"validation_{name}")
    short = _mark_if_short(train)
    axes.plot(epochs, train, color=ORANGE, linestyle=(0, (5, 1.5)), label="train", **short)
    axes.plot(epochs, validation, color=BLUE, label="validation", **short)
    axes.set_ylabel(name)
    at = np.flatnonzero(epochs == best_epoch) if best_epoch is not None else np.zeros(0, int)
    if len(at) and np.isfinite(validation[at[0]]):
        value = validation[at[0]]
        axes.axvline(epochs[at[0]], color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.5)))
        axes.plot(
            epochs[at[0]], value, "o", color=BLUE, markersize=7, markeredgecolor="white", zorder=5
        )
        text = percent(value) if name == "accuracy" else f"{value:.3g}"
        to_the_left = _place(epochs, epochs[at[0]]) > 0.5
        axes.annotate(
            f"kept: epoch {best_epoch:g}, {text}",
            (epochs[at[0]], 1),
            (5 if to_the_left else -5, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            color=INK,
        )


def _place(epochs: NDArray[np.float64], epoch: float) -> float:
    """Where an epoch is drawn, from 0 (left) to 1; a single one stands in the middle."""
    return float((epoch - epochs[0]) / (epochs[-1] - epochs[0])) if len(epochs) > 1 else 0.5


def _column(history: History, name: str) -> NDArray[np.float64]:
    values = [row.get(name) for row in history]
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def _epochs(history: History) -> NDArray[np.float64]:
    """The epochs' numbers; counted on where a second stage begins at 1 again."""
    epochs = _column(history, "epoch")
    if not np.isfinite(epochs).all() or (np.diff(epochs) <= 0).any():
        epochs = np.arange(1, len(history) + 1, dtype=np.float64)
    return epochs


def _stage_starts(history: History, epochs: NDArray[np.float64]) -> list[float]:
    stage = _column(history, "stage")
    return [float(epochs[i] - 0.5) for i in range(1, len(stage)) if stage[i] > stage[i - 1]]


def _mark_if_short(values: NDArray[np.float64]) -> dict[str, Any]:
    """With a few epochs the points themselves are shown."""
    return {"marker": "o", "markersize": 3.5} if len(values) <= 12 else {}


def _loss_axis(axes: Axes, history: History) -> None:
    """From 0 up; a few wild first epochs must not flatten all that follows."""
    losses = np.concatenate([_column(history, "loss"), _column(history, "validation_loss")])
    losses = losses[np.isfinite(losses)]
    if len(losses):
        usual = 3.0 * float(np.median(losses))
        top = float(losses.max())
        axes.set_ylim(0.0, 1.12 * (top if top <= 2 * usual else usual))


def _few_decades(axes: Axes, rate: NDArray[np.float64]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    finite = rate[np.isfinite(rate) & (rate > 0)]
    low, high = float(finite.min()), float(finite.max())
    axes.set_ylim(low / 2, high * 2)
    axes.yaxis.set_major_locator(FixedLocator([high] if low > high / 3 else [low, high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))


def _whole_epochs(axes: Axes, epochs: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    if len(epochs):
        margin = max(0.3, 0.02 * float(np.ptp(epochs)))
        axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
