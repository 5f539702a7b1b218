"""Every number that a set of predictions gives, with its 95 % interval.

NumPy only: this runs at the end of each training, where a second of imports counts. The
tests check every number against scikit-learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import expected_calibration_error, reliability
from tellapart.evaluation.intervals import (
    bootstrap_sums,
    number,
    percentile_limits,
    proportion,
    undefined,
    wilson_from_variance,
)
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.ranking import average_precision, roc_auc

#: Probabilities are kept this far from 0 in the log loss, as scikit-learn does.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


def evaluate_predictions(predictions: Predictions, *, seed: int = 0) -> dict[str, Any]:
    """All metrics of one part, ready for JSON.

    Images without a label are not scored. A "number" below is
    ``{"value", "low", "high", "method"}`` with its 95 % interval, ``method`` being
    "wilson", "jackknife" or "bootstrap" (see :mod:`tellapart.evaluation.intervals`), and a
    "note" where something should be known about it. A number without meaning here (a class
    without test images, one class only) is
    ``{"value": None, "low": None, "high": None, "method": None, "reason": sentence}``.
    In short::

        {"part": "test",
         "images": scored images, "unlabelled": images left out for want of a label,
         "classes": [names in order],
         "accuracy": number, "balanced_accuracy": number,
         "top_5": number,                          # only with more than 5 classes
         "macro": {"precision": number, "recall": number, "f1": number},
         "weighted": {"precision": number, "recall": number, "f1": number},
         "roc_auc": number,                        # mean of one-against-rest, unweighted
         "average_precision": number,              # the same
         "log_loss": number, "brier": number,
         "calibration_error": number,              # 15 bins of equal width
         "mean_confidence": float,                 # against accuracy: over- or underconfident
         "per_class": {name: {"support": int, "predicted": int,
                              "precision": number, "recall": number, "f1": number,
                              "roc_auc": number, "average_precision": number}},
         "confusion_matrix": [[int]],              # row true, column predicted
         "reliability": [{"low", "high", "images", "confidence", "accuracy"}],
         "majority_class": name, "majority_share": float,
         "predicted_classes": how many classes were ever predicted}

    ``brier`` is the mean squared distance of the probabilities from the truth, summed over
    classes; with two classes half of that, which is the usual (p - y)^2. Both are
    scikit-learn's conventions.

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
    balanced = _average_recall(matrix, empty)
    result: dict[str, Any] = {
        "part": predictions.part,
        "images": images,
        "unlabelled": len(predictions) - images,
        "classes": list(classes),
        "accuracy": proportion(right, images, empty),
        "balanced_accuracy": balanced,
    }
    if len(classes) > 5:
        result["top_5"] = proportion(_top(scored, 5), images, empty)
    result |= {
        "macro": _averages(matrix, classes, weighted=False) | {"recall": balanced},
        "weighted": _averages(matrix, classes, weighted=True),
        "roc_auc": roc,
        "average_precision": precision_recall,
        **_probability_metrics(scored, seed, empty),
        "mean_confidence": float(scored.confidence.mean()) if images else None,
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
        "reliability": reliability(scored.confidence, scored.correct),
        "majority_class": classes[int(support.argmax())] if images else None,
        "majority_share": float(support.max() / images) if images else None,
        "predicted_classes": int((predicted > 0).sum()),
    }
    return result


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


def _probability_metrics(scored: Predictions, seed: int, empty: str) -> dict[str, Any]:
    """Log loss, Brier score and calibration error, by one bootstrap of the images."""
    names = ("log_loss", "brier", "calibration_error")
    if not len(scored):
        return {name: undefined(empty) for name in names}
    log_losses, squares = image_losses(scored)
    error, gaps = expected_calibration_error(scored.confidence, scored.correct)
    columns = np.column_stack([log_losses, squares, gaps])
    resampled = bootstrap_sums(columns, seed) / len(scored)
    # Resampling adds noise to every bin's gap and so moves the calibration error up; the
    # reversed quantiles take that shift out again.
    low, high = percentile_limits(np.abs(resampled[:, 2:]).sum(axis=1))
    low, high = max(0.0, min(error, 2 * error - high)), max(error, 2 * error - low)
    return {
        "log_loss": number(log_losses.mean(), *percentile_limits(resampled[:, 0]), "bootstrap"),
        "brier": number(squares.mean(), *percentile_limits(resampled[:, 1]), "bootstrap"),
        "calibration_error": number(error, low, high, "bootstrap"),
    }


def _per_class(
    scored: Predictions, matrix: NDArray[np.int64]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The table of classes, and the two averages of one class against the rest."""
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    table: dict[str, Any] = {}
    curves: dict[str, list[tuple[float, NDArray[np.float64], int]]] = {
        "roc_auc": [], "average_precision": [],
    }
    for index, name in enumerate(scored.classes):
        right, count = int(matrix[index, index]), int(support[index])
        no_images = f"no image is {name}"
        row: dict[str, Any] = {
            "support": count,
            "predicted": int(predicted[index]),
            "precision": proportion(right, int(predicted[index]), f"{name} is never predicted"),
            "recall": proportion(right, count, no_images),
            "f1": _f1(right, count, int(predicted[index]), no_images),
        }
        if 0 < count < len(scored):
            truth, scores = scored.labels == index, scored.probabilities[:, index]
            for metric, function, trials in (
                ("roc_auc", roc_auc, min(count, len(scored) - count)),
                ("average_precision", average_precision, count),
            ):
                value, influence = function(truth, scores)
                curves[metric].append((value, influence, trials))
                row[metric] = _jackknife(value, influence, trials)
        else:
            reason = no_images if count == 0 else f"every image is {name}"
            row["roc_auc"] = row["average_precision"] = undefined(reason)
        table[name] = row
    averages = {metric: _mean_of_curves(rows, scored) for metric, rows in curves.items()}
    return table, averages["roc_auc"], averages["average_precision"]


def _jackknife(
    value: float, influence: NDArray[np.float64], trials: int, note: str | None = None
) -> dict[str, Any]:
    limits = wilson_from_variance(value, float((influence**2).sum()), trials)
    return number(value, *limits, "jackknife", note)


def _mean_of_curves(
    rows: list[tuple[float, NDArray[np.float64], int]], scored: Predictions
) -> dict[str, Any]:
    if not rows:
        return undefined(
            "all images are of one class" if len(scored) else "there are no labelled images"
        )
    influence = np.mean([row[1] for row in rows], axis=0)
    missing = len(scored.classes) - len(rows)
    note = f"averaged over the {len(rows)} classes with images" if missing else None
    value = float(np.mean([row[0] for row in rows]))
    return _jackknife(value, influence, min(row[2] for row in rows), note)


def _f1(right: int, support: int, predicted: int, reason: str) -> dict[str, Any]:
    """F1 = 2 J / (1 + J) grows with the share J of right ones among all images that are or
    were called this class, so Wilson's limits of J give limits of F1."""
    if support == 0:
        return undefined(reason)
    share = proportion(right, support + predicted - right, reason)
    value, low, high = (2 * share[key] / (1 + share[key]) for key in ("value", "low", "high"))
    return number(value, low, high, "wilson")


def _average_recall(matrix: NDArray[np.int64], empty: str) -> dict[str, Any]:
    """Balanced accuracy: recall averaged over the classes that have images.

    Recalls of different classes are independent, so the distances to their Wilson limits
    add up in squares (Zou and Donner 2008).
    """
    support = matrix.sum(axis=1)
    rows = [
        proportion(int(matrix[i, i]), int(support[i]), "") for i in np.flatnonzero(support)
    ]
    if not rows:
        return undefined(empty)
    value, low, high = (np.array([row[key] for row in rows]) for key in ("value", "low", "high"))
    mean, count = float(value.mean()), len(rows)
    return number(
        mean,
        mean - float(np.sqrt(((value - low) ** 2).sum())) / count,
        mean + float(np.sqrt(((high - value) ** 2).sum())) / count,
        "wilson",
        None if count == len(support) else f"averaged over the {count} classes with images",
    )


def _averages(
    matrix: NDArray[np.int64], classes: tuple[str, ...], *, weighted: bool
) -> dict[str, Any]:
    """Precision, recall and F1 averaged over the classes that have images."""
    support = matrix.sum(axis=1)
    return {
        name: _average(matrix, numerators, name, classes, support if weighted else None)
        for name, numerators in (("precision", (0, 1)), ("recall", (1, 0)), ("f1", (0.5, 0.5)))
    }


def _average(
    matrix: NDArray[np.int64],
    mix: tuple[float, float],
    name: str,
    classes: tuple[str, ...],
    weights: NDArray[np.int64] | None,
) -> dict[str, Any]:
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
    return number(value, low, high, "jackknife", _left_out(counted, support, classes, name))


def _left_out(
    counted: NDArray[np.bool_], support: NDArray[np.int64], classes: tuple[str, ...], name: str
) -> str | None:
    """Which classes an average does not contain, and why."""
    if counted.all():
        return None
    never = [classes[i] for i in np.flatnonzero(~counted & (support > 0))]
    absent = [classes[i] for i in np.flatnonzero(support == 0)]
    reasons = [
        f"{_listed(names)} {verb}"
        for names, verb in (
            (never, "never predicted, which leaves its precision undefined"),
            (absent, "without images"),
        )
        if names
    ]
    return f"averaged over {int(counted.sum())} of {len(classes)} classes: {'; '.join(reasons)}"


def _listed(names: list[str]) -> str:
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} and {len(names) - 2} more"
