"""Every number that a set of predictions gives, with its 95 % interval.

NumPy only: this runs at the end of each training, where a second of imports counts. The
tests check every number against scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.averages import Matrix, averages, class_shares, matrix_of
from tellapart.evaluation.calibration import calibration_bins, reliability
from tellapart.evaluation.image_groups import ImageGroups, image_groups
from tellapart.evaluation.intervals import (
    calibration_limits,
    mean_loss,
    named,
    proportion,
    wilson_from_variance,
)
from tellapart.evaluation.metric_table import ClassMetrics, Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.ranking import (
    auc_variance,
    average_precision,
    precision_variance,
    raised_for,
    roc_auc,
)
from tellapart.number import Number, undefined

#: Probabilities are kept this far from 0 in the log loss, as scikit-learn does.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)

#: The average precision of fewer images of a class than this comes out too high: those that are
#: ranked first are few. Of one class its interval is wide enough for that. In the mean over more
#: classes than ``_MANY`` the width shrinks, and what is too high does not.
_FEW_IMAGES, _MANY = 10, 5
_TOO_HIGH = "no interval, for with fewer than 10 images a class it comes out too high"


def evaluate_predictions(predictions: Predictions, *, seed: int = 0) -> Metrics:
    """All metrics of one part.

    Images without a label are not scored. Every number has its 95 % interval and the
    method of it (see :mod:`tellapart.evaluation.intervals`); a number without meaning here
    (a class without test images, one class only) has no value but a reason.

    Args:
        predictions: from one pass.
        seed: of what is drawn for the calibration error's interval.
    """
    scored = predictions.select(predictions.labelled)
    images, classes = len(scored), scored.classes
    counts = confusion_matrix(scored)
    support, predicted = counts.sum(axis=1), counts.sum(axis=0)
    right = int(np.trace(counts))
    if right != int(scored.correct.sum()):
        raise RuntimeError("The confusion matrix disagrees with the accuracy.")
    empty = "there are no labelled images"
    groups = image_groups(scored.groups)
    matrix = matrix_of(scored, counts, groups)
    per_class, roc, precision_recall = _per_class(scored, matrix)
    macro = averages(matrix, weighted=False)
    return Metrics(
        part=predictions.part,
        images=images,
        unlabelled=len(predictions) - images,
        classes=classes,
        accuracy=_share(scored.correct, groups, empty),
        balanced_accuracy=macro.recall,
        top_5=_share(_among_top(scored, 5), groups, empty) if len(classes) > 5 else None,
        macro=macro,
        weighted=averages(matrix, weighted=True),
        roc_auc=roc,
        average_precision=precision_recall,
        **_probability_metrics(scored, groups, seed, empty),
        mean_confidence=float(scored.confidence.mean()) if images else None,
        per_class=per_class,
        confusion_matrix=counts.tolist(),
        reliability=reliability(scored.confidence, scored.correct),
        majority_class=classes[int(support.argmax())] if images else None,
        majority_share=float(support.max() / images) if images else None,
        predicted_classes=int((predicted > 0).sum()),
        cross_validated=len(np.unique(scored.folds)) if scored.folds is not None else None,
    )


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """int64 (C, C): entry (t, p) counts labelled images of true class t predicted as p."""
    classes = len(predictions.classes)
    known = predictions.labelled
    cells = predictions.labels[known] * classes + predictions.predicted[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def image_losses(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log loss and Brier score of each image, float64 (N,) both; all must be labelled."""
    return _losses_for(predictions, predictions.labels)


def _losses_for(
    predictions: Predictions, labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log loss and Brier score of each image if its class were the one of ``labels``."""
    probabilities = predictions.probabilities
    of_truth = probabilities[np.arange(len(labels)), labels]
    log_losses = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0))
    squares = (probabilities**2).sum(axis=1) - 2.0 * of_truth + 1.0
    if len(predictions.classes) == 2:
        squares = squares / 2.0
    return log_losses, squares


def _share(right: NDArray[np.bool_], groups: ImageGroups | None, empty: str) -> Number:
    """The share of images that are right."""
    effect = 1.0 if groups is None else groups.design_effect(right.astype(np.float64))
    return proportion(int(right.sum()), len(right), empty, effect)


def _among_top(scored: Predictions, count: int) -> NDArray[np.bool_]:
    """Images whose true class is among the ``count`` most probable; of equal ones the first
    classes, as in ``Predictions.predicted``."""
    labels = scored.labels[:, None]
    of_truth = np.take_along_axis(scored.probabilities, labels, axis=1)
    earlier = np.arange(len(scored.classes))[None, :] < labels
    ahead = (scored.probabilities > of_truth) | ((scored.probabilities == of_truth) & earlier)
    among: NDArray[np.bool_] = ahead.sum(axis=1) < count
    return among


def _probability_metrics(
    scored: Predictions, groups: ImageGroups | None, seed: int, empty: str
) -> dict[str, Number]:
    """Log loss, Brier score and calibration error."""
    names = ("log_loss", "brier", "calibration_error")
    if not len(scored):
        return {name: undefined(empty) for name in names}
    numbers = {}
    largest = (float(-np.log(SMALLEST_PROBABILITY)), 1.0 if len(scored.classes) == 2 else 2.0)
    for name, losses, if_wrong, most in zip(
        names, image_losses(scored), _losses_for(scored, _runner_up(scored)), largest, strict=False
    ):
        effect = 1.0 if groups is None else groups.design_effect(losses)
        numbers[name] = mean_loss(losses, float(if_wrong.mean()), most, effect)
    bins = calibration_bins(scored.confidence, scored.correct)
    effect = 1.0 if groups is None else _calibration_effect(scored, groups)
    limits = calibration_limits(bins.images, bins.right, bins.confidence, seed, effect=effect)
    numbers["calibration_error"] = Number(bins.error, *limits, named("simulation", effect))
    return numbers


def _runner_up(scored: Predictions) -> NDArray[np.int64]:
    """int64 (N,): the second likeliest class of each image."""
    if len(scored.classes) == 1:
        return np.zeros(len(scored), dtype=np.int64)
    return np.asarray(np.argpartition(scored.probabilities, -2, axis=1)[:, -2], dtype=np.int64)


def _calibration_effect(scored: Predictions, groups: ImageGroups) -> float:
    return groups.design_effect(scored.correct - scored.confidence)


def _per_class(
    scored: Predictions, matrix: Matrix
) -> tuple[dict[str, ClassMetrics], Number, Number]:
    """The table of classes, and the two averages of one class against the rest."""
    support, predicted = matrix.support.tolist(), matrix.called.tolist()
    table: dict[str, ClassMetrics] = {}
    means = {"roc_auc": _MeanArea(), "average_precision": _MeanArea()}
    averaged_over = int(np.count_nonzero(matrix.support))
    for index, (name, shares) in enumerate(zip(scored.classes, class_shares(matrix), strict=True)):
        count = support[index]
        ranked: dict[str, Number] = {}
        if 0 < count < len(scored):
            truth, scores = scored.labels == index, scored.probabilities[:, index]
            for metric, area in _areas(truth, scores, matrix.groups, averaged_over).items():
                means[metric].add(area)
                ranked[metric] = area.number
        else:
            reason = f"no image is {name}" if count == 0 else f"every image is {name}"
            ranked = dict.fromkeys(means, undefined(reason))
        table[name] = ClassMetrics(
            support=count,
            predicted=predicted[index],
            precision=shares.precision,
            recall=shares.recall,
            f1=shares.f1,
            **ranked,
        )
    averaged = {metric: mean.number(scored, matrix.groups) for metric, mean in means.items()}
    return table, averaged["roc_auc"], averaged["average_precision"]


@dataclass(frozen=True)
class _Area:
    """The area under one class' curve, each image's influence on it, and its variance.

    Attributes:
        variance: of the area, raised where few images make it too small.
        in_mean: the same for the mean over classes, in which few images count for less.
        trials: the number of images of the rarer kind.
        effect: the design effect; the variances are those of as many times fewer images.
        within: sum of squares of the placements of the class' own images about their mean.
        freedom: one less than these images; 0: a single one has no spread.
        is_small: so few images that an average precision comes out too high.
        unknown: why there is no interval; "": there is one.
    """

    value: float
    influence: NDArray[np.float64]
    variance: float
    in_mean: float
    trials: int
    effect: float
    within: float = 0.0
    freedom: int = 0
    is_small: bool = False
    unknown: str = ""

    @property
    def number(self) -> Number:
        if self.unknown:
            return Number(self.value, note=self.unknown)
        limits = wilson_from_variance(self.value, self.variance, self.trials / self.effect)
        return Number(self.value, *limits, named("jackknife", self.effect))


def _areas(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    groups: ImageGroups | None,
    classes: int,
) -> dict[str, _Area]:
    """The areas of one class, of so many whose mean is told as well."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    roc, of_roc = roc_auc(truth, scores)
    precision, of_precision = average_precision(truth, scores)
    roc_effect, effect = (
        1.0 if groups is None else groups.design_effect(influence)
        for influence in (of_roc, of_precision)
    )
    delong = roc_effect * float((of_roc**2).sum())
    known = positives / roc_effect, negatives / roc_effect
    variance = auc_variance(roc, delong, *known, raised=raised_for(positives, negatives))
    # A variance from few images of the class is too small; how much so, simulations tell.
    few = max(positives / effect, 2.0)
    spread = effect * float((of_precision**2).sum()) * (few + 3.0) / (few - 1.0)
    spread = precision_variance(precision, spread, positives, effect)
    return {
        "roc_auc": _Area(
            roc,
            of_roc,
            variance,
            # Few images of each of several classes are many in all; of two it is the same area.
            in_mean=variance if classes == 2 else auc_variance(roc, delong, *known),
            trials=min(positives, negatives),
            effect=roc_effect,
            within=float((of_roc[truth] ** 2).sum()) * positives * (positives - 1),
            freedom=positives - 1,
        ),
        "average_precision": _Area(
            precision,
            of_precision,
            spread,
            in_mean=spread,
            trials=positives,
            effect=effect,
            is_small=positives < _FEW_IMAGES,
            unknown="" if positives > 1 else "no interval, for one image has no spread",
        ),
    }


class _MeanArea:
    """One class against the rest, averaged; the classes' areas come from the same images.

    Influences are added up as the classes come, for those of a thousand classes would not fit
    in memory.
    """

    def __init__(self) -> None:
        self.count, self.trials = 0, 0
        self.values: list[float] = []
        self.influence: NDArray[np.float64] | float = 0.0
        self.single, self.raised = 0.0, 0.0
        self.within, self.freedom, self.alone = 0.0, 0, 0
        self.unknown, self.small = 0, 0

    def add(self, area: _Area) -> None:
        self.trials = min(self.trials, area.trials) if self.values else area.trials
        self.values.append(area.value)
        self.influence = self.influence + area.influence
        self.single += float((area.influence**2).sum())
        self.raised += area.in_mean / area.effect
        self.within += area.within
        self.freedom += area.freedom
        self.alone += area.freedom == 0
        self.unknown += bool(area.unknown)
        self.small += area.is_small

    def number(self, scored: Predictions, groups: ImageGroups | None) -> Number:
        areas = len(self.values)
        if not areas:
            return undefined(
                "all images are of one class" if len(scored) else "there are no labelled images"
            )
        value = float(np.mean(self.values))
        influence = np.asarray(self.influence) / areas
        variance = float((influence**2).sum())
        if self.single > 0.0:  # raised as those of the single classes were
            variance *= self.raised / self.single
        if areas > 2 and self.freedom:
            # A class with one image has no spread of its own: the classes' common one.
            variance += self.alone * self.within / self.freedom / areas**2
        effect = 1.0 if groups is None else groups.design_effect(influence)
        limits = wilson_from_variance(value, variance * effect, self.trials / effect)
        missing = areas < len(scored.classes)
        note = f"averaged over the {areas} classes with images" if missing else ""
        if self.unknown and areas <= 2:
            return Number(value, note="no interval, for one image of a class has no spread")
        if areas > _MANY and 2 * self.small > areas:
            return Number(value, note=f"{note}{'; ' if note else ''}{_TOO_HIGH}")
        return Number(value, *limits, named("jackknife", effect), note=note)
