"""Precision, recall and F1 of each class, and their averages, from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.image_groups import ImageGroups
from tellapart.evaluation.intervals import combined, named, proportion, wilson, wilson_from_variance
from tellapart.evaluation.metric_table import Averages
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number, undefined
from tellapart.wording import listed


@dataclass(frozen=True, eq=False)
class Matrix:
    """A confusion matrix and the images behind it.

    Attributes:
        counts: int64 (C, C), row true, column predicted.
        classes: names in order.
        labels, predicted: int64 (N,), of each image.
        groups: which images belong together, None where each stands alone.
    """

    counts: NDArray[np.int64]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    groups: ImageGroups | None

    @property
    def support(self) -> NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=1), dtype=np.int64)

    @property
    def called(self) -> NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=0), dtype=np.int64)

    @property
    def right(self) -> NDArray[np.int64]:
        return np.diag(self.counts)

    def effect(self, influence: NDArray[np.float64]) -> float:
        """Design effect of a number, from the influence (C, C) of an image of each cell."""
        if self.groups is None:
            return 1.0
        return self.groups.design_effect(influence[self.labels, self.predicted])


def matrix_of(scored: Predictions, counts: NDArray[np.int64], groups: ImageGroups | None) -> Matrix:
    """The confusion matrix ``counts`` of labelled predictions."""
    return Matrix(counts, scored.classes, scored.labels, scored.predicted, groups)


# --- one class ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassShares:
    """Precision, recall and F1 of one class."""

    precision: Number
    recall: Number
    f1: Number


def class_shares(matrix: Matrix) -> tuple[ClassShares, ...]:
    """Each class' precision, recall and F1, in the order of the classes."""
    support, called, right = (v.tolist() for v in (matrix.support, matrix.called, matrix.right))
    effects = _class_effects(matrix)
    rows = []
    for index, name in enumerate(matrix.classes):
        no_images = f"no image is {name}"
        of_precision, of_recall, of_f1 = effects[index]
        rows.append(
            ClassShares(
                precision=proportion(
                    right[index], called[index], f"{name} is never predicted", of_precision
                ),
                recall=proportion(right[index], support[index], no_images, of_recall),
                f1=_f1(right[index], support[index], called[index], no_images, of_f1),
            )
        )
    return tuple(rows)


def _f1(right: int, support: int, called: int, reason: str, effect: float) -> Number:
    """F1 = 2 J / (1 + J) grows with the share J of right ones among all images that are or
    were called this class, so Wilson's limits of J give limits of F1."""
    if support == 0:
        return undefined(reason)
    share = proportion(right, support + called - right, reason, effect)
    value, low, high = (_f1_of(limit) for limit in share.measured())
    return Number(value, low, high, share.method)


def _f1_of(share: Any) -> Any:
    return 2 * share / (1 + share)


def _class_effects(matrix: Matrix) -> list[tuple[float, float, float]]:
    """Design effects of precision, recall and F1 of each class."""
    groups, classes = matrix.groups, len(matrix.classes)
    if groups is None:
        return [(1.0, 1.0, 1.0)] * classes
    of_label, of_call = (
        _rows_by_class(values, classes) for values in (matrix.labels, matrix.predicted)
    )
    right = matrix.labels == matrix.predicted
    effects = []
    for index in range(classes):
        called, labelled = of_call[index], of_label[index]
        either = np.union1d(called, labelled)
        precision, recall, f1 = (
            groups.design_effect(right[rows].astype(np.float64), rows) if len(rows) else 1.0
            for rows in (called, labelled, either)
        )
        effects.append((precision, recall, f1))
    return effects


def _rows_by_class(values: NDArray[np.int64], classes: int) -> list[NDArray[np.int64]]:
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(np.bincount(values, minlength=classes))
    return np.split(order, ends[:-1])


# --- averages ----------------------------------------------------------------------------------


def averages(matrix: Matrix, *, weighted: bool) -> Averages:
    """Precision, recall and F1 averaged over the classes that have images.

    Args:
        weighted: classes count by their images; otherwise all the same.
    """
    return Averages(
        precision=_average(matrix, (0.0, 1.0), weighted),
        recall=_average(matrix, (1.0, 0.0), weighted),
        f1=_average(matrix, (0.5, 0.5), weighted),
    )


def _average(matrix: Matrix, mix: tuple[float, float], weighted: bool) -> Number:
    """An average over classes of right / (mix[0] support + mix[1] called).

    The three metrics are this ratio with (0, 1), (1, 0) and (1/2, 1/2).
    """
    support, right = matrix.support, matrix.right
    if not support.sum():
        return undefined("there are no labelled images")
    denominators = mix[0] * support + mix[1] * matrix.called
    counted = (support > 0) & (denominators > 0)
    if not counted.any():
        return undefined("no class with images is ever predicted")
    ratios = np.where(counted, right / np.where(counted, denominators, 1.0), 0.0)
    base = np.where(counted, support if weighted else 1.0, 0.0).astype(np.float64)
    share = base / base.sum()
    value = _weighted_mean(share, ratios)
    note = _left_out(counted, support, matrix.classes)
    if (~counted & (support > 0)).any():
        return Number(value, note=f"{note}; no interval, for more images could add them")
    influence = _influence(matrix, mix, share, ratios, base.sum() if weighted else None)
    effect = matrix.effect(influence)
    if weighted and mix[0] > 0:
        variance = float((matrix.counts * influence**2).sum()) * effect
        limits = wilson_from_variance(value, variance, float(support.sum()) / effect)
        return Number(value, *limits, named("jackknife", effect), note=note)
    limits = _macro_limits(matrix, mix, counted, ratios, share, effect)
    return Number(value, *limits, named("combined", effect), note=note)


def _macro_limits(
    matrix: Matrix,
    mix: tuple[float, float],
    counted: NDArray[np.bool_],
    ratios: NDArray[np.float64],
    share: NDArray[np.float64],
    effect: float,
) -> tuple[float, float]:
    """Limits of an average of classes, of which some may have few images.

    The wider, on each side, of two: the classes' own Wilson limits combined, which are as
    skewed as the classes are, and Wilson's limits at the variance that the classes would have
    with half an image more right and half a one more wrong (Jeffreys), without which small
    classes that are all right look certain.
    """
    is_f1 = mix[0] * mix[1] > 0
    trials = (mix[0] > 0) * matrix.support + (mix[1] > 0) * matrix.called
    if is_f1:
        trials = trials - matrix.right  # the images that are or were called a class
    value = _weighted_mean(share, ratios)
    lows, highs = ratios.copy(), ratios.copy()
    for i in np.flatnonzero(counted):
        limits = wilson(matrix.right[i] / effect, trials[i] / effect)
        lows[i], highs[i] = map(_f1_of, limits) if is_f1 else limits
    correlation = _f1_correlation(matrix) if is_f1 else None
    low, high = combined(ratios, lows, highs, share, correlation)
    safe = np.where(counted, trials, 1)
    pulled = (matrix.right + 0.5) / (safe + 1.0)
    spreads = share * np.sqrt(pulled * (1.0 - pulled) / safe)
    if is_f1:
        spreads, pulled = spreads * 2.0 / (1.0 + pulled) ** 2, _f1_of(pulled)
    variance = float(spreads @ spreads if correlation is None else spreads @ correlation @ spreads)
    centre = float(share @ pulled)
    other = wilson_from_variance(
        value, variance * effect, centre * (1.0 - centre) / (variance * effect)
    )
    low, high = min(low, other[0]), max(high, other[1])
    if is_f1:  # of few images F1 comes out too low: the second order of its Taylor series
        wrong, all_counts = trials - matrix.right, trials + matrix.right
        too_low = 2.0 * matrix.right * wrong / np.maximum(all_counts, 1).astype(np.float64) ** 3
        low, high = low + float(share @ too_low), high + float(share @ too_low)
    return min(low, value), max(min(high, 1.0), value)


def _weighted_mean(share: NDArray[np.float64], ratios: NDArray[np.float64]) -> float:
    """The mean, exactly 1 where all are: weights may add up to a hair less or more."""
    value = float(share @ ratios)
    return 1.0 if value > 1.0 - 1e-12 else value


def _influence(
    matrix: Matrix,
    mix: tuple[float, float],
    share: NDArray[np.float64],
    ratios: NDArray[np.float64],
    images: float | None,
) -> NDArray[np.float64]:
    """How far one more image of each cell (t, p) moves an average.

    It adds to the numerator of t if t = p, and to the denominators of t and p; where classes
    count by their images (``images`` of them), to the weight of t as well.
    """
    denominators = mix[0] * matrix.support + mix[1] * matrix.called
    per_image = share / np.where(denominators > 0, denominators, 1.0)
    influence: NDArray[np.float64] = (
        np.diag(per_image)
        - mix[0] * (per_image * ratios)[:, None]
        - mix[1] * (per_image * ratios)[None, :]
    )
    if images is not None:
        influence += np.where(share > 0, (ratios - share @ ratios) / images, 0.0)[:, None]
    return influence


def _f1_correlation(matrix: Matrix) -> NDArray[np.float64]:
    """Correlation of the classes' F1, (C, C): a mistake counts against two of them.

    For this the matrix has, in each class, half an image more that is right, half a one that
    is missed and half a one that is wrongly called it: no mistakes is not no correlation.
    """
    support = matrix.support.astype(np.float64)
    others = np.maximum(support.sum() - support, 1.0)
    wrong = matrix.counts + 0.5 * support[None, :] / others[:, None]
    np.fill_diagonal(wrong, 0.0)
    right = matrix.right + 0.5
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    f1 = 2 * right / (2 * right + mistakes)
    spread = np.sqrt(right * (1 - f1) ** 2 + mistakes * (f1 / 2) ** 2)
    scaled = f1 / 2 / np.where(spread > 0, spread, 1.0)
    correlation: NDArray[np.float64] = (wrong + wrong.T) * scaled[:, None] * scaled[None, :]
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _left_out(
    counted: NDArray[np.bool_], support: NDArray[np.int64], classes: tuple[str, ...]
) -> str:
    """Which classes an average does not contain, and why; empty if it has all."""
    if counted.all():
        return ""
    never = [classes[i] for i in np.flatnonzero(~counted & (support > 0))]
    absent = [classes[i] for i in np.flatnonzero(support == 0)]
    reasons = [
        f"{listed(names, 3, 'and')} {verb}"
        for names, verb in (
            (never, "never predicted, which leaves its precision undefined"),
            (absent, "without images"),
        )
        if names
    ]
    return f"averaged over {int(counted.sum())} of {len(classes)} classes: {'; '.join(reasons)}"
