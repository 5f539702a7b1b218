"""Every number that a set of predictions gives, with its 95 % interval.

NumPy only: this runs at the end of each training, where a second of imports counts. The
tests check every number against scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import calibration_bins, reliability
from tellapart.evaluation.intervals import (
    bootstrap_sums,
    calibration_limits,
    mean_loss,
    mean_proportion,
    proportion,
    wilson_from_variance,
)
from tellapart.evaluation.metric_table import Averages, ClassMetrics, Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.ranking import auc_variance, average_precision, roc_auc
from tellapart.number import Number, undefined
from tellapart.wording import listed

#: Probabilities are kept this far from 0 in the log loss, as scikit-learn does.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


def evaluate_predictions(predictions: Predictions, *, seed: int = 0) -> Metrics:
    """All metrics of one part.

    Images without a label are not scored. Every number has its 95 % interval and the
    method of it (see :mod:`tellapart.evaluation.intervals`); a number without meaning here
    (a class without test images, one class only) has no value but a reason.

    Args:
        predictions: from one pass.
        seed: of the bootstrap (log loss, Brier score, calibration error).
    """
    scored = predictions.select(predictions.labelled)
    images, classes = len(scored), scored.classes
    matrix = confusion_matrix(scored)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    right = int(np.trace(matrix))
    if right != int(scored.correct.sum()):
        raise RuntimeError("The confusion matrix disagrees with the accuracy.")
    empty = "there are no labelled images"
    per_class, roc, precision_recall = _per_class(scored, matrix)
    averages = _averages(matrix, classes, weighted=False)
    return Metrics(
        part=predictions.part,
        images=images,
        unlabelled=len(predictions) - images,
        classes=classes,
        accuracy=proportion(right, images, empty),
        balanced_accuracy=averages.recall,
        top_5=proportion(_top(scored, 5), images, empty) if len(classes) > 5 else None,
        macro=averages,
        weighted=_averages(matrix, classes, weighted=True),
        roc_auc=roc,
        average_precision=precision_recall,
        **_probability_metrics(scored, seed, empty),
        mean_confidence=float(scored.confidence.mean()) if images else None,
        per_class=per_class,
        confusion_matrix=matrix.tolist(),
        reliability=reliability(scored.confidence, scored.correct),
        majority_class=classes[int(support.argmax())] if images else None,
        majority_share=float(support.max() / images) if images else None,
        predicted_classes=int((predicted > 0).sum()),
    )


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """int64 (C, C): entry (t, p) counts labelled images of true class t predicted as p."""
    classes = len(predictions.classes)
    known = predictions.labelled
    cells = predictions.labels[known] * classes + predictions.predicted[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def image_losses(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log loss and Brier score of each image, float64 (N,) both; all must be labelled."""
    probabilities, labels = predictions.probabilities, predictions.labels
    of_truth = probabilities[np.arange(len(labels)), labels]
    log_losses = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0))
    squares = (probabilities**2).sum(axis=1) - 2.0 * of_truth + 1.0
    if len(predictions.classes) == 2:
        squares = squares / 2.0
    return log_losses, squares


def _top(scored: Predictions, count: int) -> int:
    """Images whose true class is among the ``count`` most probable; of equal ones the first
    classes, as in ``Predictions.predicted``."""
    labels = scored.labels[:, None]
    of_truth = np.take_along_axis(scored.probabilities, labels, axis=1)
    earlier = np.arange(len(scored.classes))[None, :] < labels
    ahead = (scored.probabilities > of_truth) | ((scored.probabilities == of_truth) & earlier)
    return int((ahead.sum(axis=1) < count).sum())


def _probability_metrics(scored: Predictions, seed: int, empty: str) -> dict[str, Number]:
    """Log loss, Brier score and calibration error, by one bootstrap of the images."""
    names = ("log_loss", "brier", "calibration_error")
    if not len(scored):
        return {name: undefined(empty) for name in names}
    log_losses, squares = image_losses(scored)
    columns = [log_losses, log_losses**2, squares, squares**2]
    sums = bootstrap_sums(np.column_stack(columns), seed)
    bins = calibration_bins(scored.confidence, scored.correct)
    limits = calibration_limits(bins.images, bins.right, bins.confidence, seed)
    return {
        "log_loss": mean_loss(float(log_losses.mean()), log_losses, sums[:, :2]),
        "brier": mean_loss(float(squares.mean()), squares, sums[:, 2:]),
        "calibration_error": Number(bins.error, *limits, "bootstrap"),
    }


def _per_class(
    scored: Predictions, matrix: NDArray[np.int64]
) -> tuple[dict[str, ClassMetrics], Number, Number]:
    """The table of classes, and the two averages of one class against the rest."""
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    table: dict[str, ClassMetrics] = {}
    areas: dict[str, list[_Area]] = {"roc_auc": [], "average_precision": []}
    for index, name in enumerate(scored.classes):
        right, count = int(matrix[index, index]), int(support[index])
        no_images = f"no image is {name}"
        ranked: dict[str, Number] = {}
        if 0 < count < len(scored):
            truth, scores = scored.labels == index, scored.probabilities[:, index]
            for metric, area in _areas(truth, scores).items():
                areas[metric].append(area)
                limits = wilson_from_variance(area.value, area.variance, area.trials)
                ranked[metric] = Number(area.value, *limits, "jackknife")
        else:
            reason = no_images if count == 0 else f"every image is {name}"
            ranked = dict.fromkeys(areas, undefined(reason))
        table[name] = ClassMetrics(
            support=count,
            predicted=int(predicted[index]),
            precision=proportion(right, int(predicted[index]), f"{name} is never predicted"),
            recall=proportion(right, count, no_images),
            f1=_f1(right, count, int(predicted[index]), no_images),
            **ranked,
        )
    averages = {metric: _mean_of_areas(found, scored) for metric, found in areas.items()}
    return table, averages["roc_auc"], averages["average_precision"]


@dataclass(frozen=True)
class _Area:
    """The area under one class' curve, each image's influence on it, and its variance."""

    value: float
    influence: NDArray[np.float64]
    variance: float
    trials: int


def _areas(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, _Area]:
    positives = int(truth.sum())
    fewer = min(positives, len(truth) - positives)
    roc, roc_influence = roc_auc(truth, scores)
    delong = float((roc_influence**2).sum())
    variance = auc_variance(roc, delong, positives, len(truth) - positives)
    precision, influence = average_precision(truth, scores)
    return {
        "roc_auc": _Area(roc, roc_influence, variance, fewer),
        "average_precision": _Area(
            precision, influence, float((influence**2).sum()), positives
        ),
    }


def _mean_of_areas(areas: list[_Area], scored: Predictions) -> Number:
    """One class against the rest, averaged; the classes' areas come from the same images."""
    if not areas:
        return undefined(
            "all images are of one class" if len(scored) else "there are no labelled images"
        )
    value = float(np.mean([area.value for area in areas]))
    variance = float((np.mean([area.influence for area in areas], axis=0) ** 2).sum())
    single = sum(float((area.influence**2).sum()) for area in areas)
    if single > 0.0:  # raised as those of the single classes were
        variance *= sum(area.variance for area in areas) / single
    missing = len(areas) < len(scored.classes)
    limits = wilson_from_variance(value, variance, min(area.trials for area in areas))
    note = f"averaged over the {len(areas)} classes with images" if missing else ""
    return Number(value, *limits, "jackknife", note=note)


def _f1(right: int, support: int, predicted: int, reason: str) -> Number:
    """F1 = 2 J / (1 + J) grows with the share J of right ones among all images that are or
    were called this class, so Wilson's limits of J give limits of F1."""
    if support == 0:
        return undefined(reason)
    share = proportion(right, support + predicted - right, reason)
    value, low, high = (2 * limit / (1 + limit) for limit in share.measured())
    return Number(value, low, high, "wilson")


def _averages(
    matrix: NDArray[np.int64], classes: tuple[str, ...], *, weighted: bool
) -> Averages:
    """Precision, recall and F1 averaged over the classes that have images."""
    support = matrix.sum(axis=1)
    weights = support if weighted else None
    return Averages(
        precision=_average(matrix, (0, 1), classes, weights),
        recall=_average(matrix, (1, 0), classes, weights),
        f1=_average(matrix, (0.5, 0.5), classes, weights),
    )


def _average(
    matrix: NDArray[np.int64],
    mix: tuple[float, float],
    classes: tuple[str, ...],
    weights: NDArray[np.int64] | None,
) -> Number:
    """An average over classes of right / (mix[0] support + mix[1] predicted).

    The three metrics are this ratio with (1, 0), (0, 1) and (1/2, 1/2). The influence of an
    image follows from its cell (t, p): it adds to the numerator of t if t = p, and to the
    denominators of t and p.
    """
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    images = int(support.sum())
    if images == 0:
        return undefined("there are no labelled images")
    of_support, of_predicted = mix
    denominators = of_support * support + of_predicted * predicted
    counted = (support > 0) & (denominators > 0)
    if not counted.any():
        return undefined("no class with images is ever predicted")
    safe = np.where(counted, denominators, 1.0)
    ratios = np.where(counted, np.diag(matrix) / safe, 0.0)
    base = np.where(counted, 1.0 if weights is None else weights, 0.0).astype(np.float64)
    share = base / base.sum()
    value = float(share @ ratios)
    note = _left_out(counted, support, classes)
    if weights is None and of_support * of_predicted == 0:  # a mean of proportions
        rights, trials = np.diag(matrix)[counted], denominators[counted].astype(np.int64)
        return mean_proportion(rights, trials, note)
    per_image = share / safe  # of one more image in a class' denominator
    influence = (
        np.diag(per_image)
        - of_support * (per_image * ratios)[:, None]
        - of_predicted * (per_image * ratios)[None, :]
    )
    if weights is not None:  # the weights are counts of the same images
        influence += np.where(counted, (ratios - value) / base.sum(), 0.0)[:, None]
    variance = float((matrix * influence**2).sum())
    low, high = wilson_from_variance(value, variance, images)
    return Number(value, low, high, "jackknife", note=note)


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
