"""Can the probabilities be believed, and where should the line be drawn?

Everything that is chosen here (temperature, thresholds) is chosen on the validation part
and then measured on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.evaluation.choosing import least_cost_threshold
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number

#: Bins of equal width over 0..1, as in Guo et al. 2017 ("On calibration of modern networks").
BINS = 15

#: Temperatures that may come out; a fit at a limit means that the data do not settle it.
TEMPERATURES = (0.1, 10.0)

#: What a probability of 0 is taken as where its logarithm is needed.
SMALLEST = float(np.finfo(np.float64).eps)


# --- are the probabilities right? ----------------------------------------------------------


@dataclass(frozen=True)
class CalibrationBins:
    """Images sorted by confidence into bins of equal width; only bins that hold images.

    Attributes:
        numbers: int64 (bins,), the bin's place among all, from 0.
        images: int64 (bins,), how many images it holds.
        right: float64 (bins,), how many of them are predicted right.
        confidence: float64 (bins,), the sum of their confidences.
    """

    numbers: NDArray[np.int64]
    images: NDArray[np.int64]
    right: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance between confidence and accuracy (0..1)."""
        gaps = np.abs(self.right - self.confidence)
        return float(gaps.sum() / self.images.sum()) if len(gaps) else 0.0


def calibration_bins(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> CalibrationBins:
    """Sort images (N,) by confidence; bins hold their upper limit, the first one 0 as well."""
    member = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(member, minlength=bins)
    used = np.flatnonzero(images)
    return CalibrationBins(
        numbers=used,
        images=images[used],
        right=np.bincount(member, correct, bins)[used].astype(np.float64),
        confidence=np.bincount(member, confidence, bins)[used].astype(np.float64),
    )


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence lies above ``low`` and up to ``high``."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """The bins that hold images, with their mean confidence and accuracy."""
    found = calibration_bins(confidence, correct, bins)
    rows = []
    for place, number in enumerate(found.numbers.tolist()):
        images = int(found.images[place])
        rows.append(
            ReliabilityBin(
                low=number / bins,
                high=(number + 1) / bins,
                images=images,
                confidence=float(found.confidence[place]) / images,
                accuracy=float(found.right[place]) / images,
            )
        )
    return tuple(rows)


# --- temperature ----------------------------------------------------------------------------


def choose_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The temperature that makes the log loss on validation images smallest.

    Probabilities become ``softmax(logits / temperature)``: above 1 they are softened (the
    classifier was overconfident), below 1 sharpened. The predicted class never changes.
    If no validation image is wrong, nothing says how sure is too sure, and 1 is returned.

    Args:
        logits: float (N, C) of the validation images; for probabilities, their logarithms
            (:func:`log_probabilities`).
        labels: int64 (N,), -1 where not known (such images do not count).

    Source: Guo et al. 2017, section 4.2.

    Raises:
        DataError: there are no labelled validation images.
    """
    known = labels >= 0
    scores, truth = np.asarray(logits, dtype=np.float64)[known], labels[known]
    if not len(truth):
        raise DataError(
            "The temperature is fitted on labelled validation images and there are none; "
            "add a validation part."
        )
    if (scores.argmax(axis=1) == truth).all():
        return 1.0
    of_truth = scores[np.arange(len(truth)), truth]

    def slope(log_sharpness: float) -> float:
        """Sign of d(log loss)/d(1/T); the log loss is convex in 1/T."""
        softened = _softmax(scores * np.exp(log_sharpness))
        return float(((softened * scores).sum(axis=1) - of_truth).mean())

    low, high = -np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])
    for _ in range(50):  # bisection: 50 halvings leave less than 1e-14
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def log_probabilities(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of probabilities, float64 (N, C), with 0 taken as 2.2e-16."""
    logits: NDArray[np.float64] = np.log(np.clip(probabilities, SMALLEST, 1.0))
    return logits


def apply_temperature(
    probabilities: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Softened (temperature > 1) or sharpened probabilities, float64 (N, C) -> (N, C)."""
    if temperature == 1.0:
        return np.asarray(probabilities, dtype=np.float64)
    return _softmax(log_probabilities(probabilities) / temperature)


def with_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions with softened or sharpened probabilities."""
    softened = apply_temperature(predictions.probabilities, temperature)
    return replace(predictions, probabilities=softened)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


# --- two classes: where to draw the line ------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """What a threshold should give: one of a precision, a recall, or the least cost.

    ``costs`` are those of one false alarm and of one miss.
    """

    precision: float | None = None
    recall: float | None = None
    costs: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.precision, self.recall, self.costs) if value is not None]
        if len(given) != 1:
            raise ValueError("A wish is one of precision, recall or costs.")

    def __str__(self) -> str:
        if self.precision is not None:
            return f"precision at least {self.precision:.4g}"
        if self.recall is not None:
            return f"recall at least {self.recall:.4g}"
        alarm, miss = self.costs or (0.0, 0.0)
        return f"least cost ({alarm:.4g} a false alarm, {miss:.4g} a miss)"


#: What the report shows where nobody asked for anything else.
USUAL_WISHES = (
    Wish(precision=0.95),
    Wish(precision=0.99),
    Wish(recall=0.95),
    Wish(recall=0.99),
    Wish(costs=(1.0, 1.0)),
    Wish(costs=(1.0, 10.0)),
    Wish(costs=(10.0, 1.0)),
)


#: How the row of the rule in use begins.
IN_USE = "in use"


def choose_threshold(validation: Predictions, positive: str, wish: Wish) -> float | None:
    """The probability from which an image is called ``positive``, chosen on validation.

    Of all thresholds that fulfil a wished precision the one with the most recall is taken,
    and the other way round. None: no threshold fulfils it. The threshold lies halfway
    between neighbouring scores. For costs it is that of
    :func:`~tellapart.evaluation.choosing.least_cost_threshold`.
    """
    truth, scores = _binary(validation, positive)
    if wish.costs is not None:
        alarm, miss = wish.costs
        return least_cost_threshold(truth, scores, cost_miss=miss, cost_false_alarm=alarm)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(truth[order])[ends]
    called = ends + 1
    if wish.precision is not None:
        fulfilled = np.flatnonzero((hits / called >= wish.precision) & (hits > 0))
        if not len(fulfilled):
            return None
        best = int(fulfilled[-1])
    else:
        fulfilled = np.flatnonzero(hits / max(int(hits[-1]), 1) >= (wish.recall or 0.0))
        if not len(fulfilled):
            return None
        best = int(fulfilled[0])
    values = ranked[ends]
    below = values[best + 1] if best + 1 < len(values) else 0.0
    return float((values[best] + below) / 2)


@dataclass(frozen=True)
class ThresholdScores:
    """What a threshold gives on one part.

    Attributes:
        called: images called positive; false_alarms: those of them that are not; misses:
            positive images that are not called so.
    """

    part: str
    called: int
    false_alarms: int
    misses: int
    precision: Number
    recall: Number
    accuracy: Number


def measure_threshold(predictions: Predictions, positive: str, threshold: float) -> ThresholdScores:
    """What calling images ``positive`` from this probability on gives."""
    truth, scores = _binary(predictions, positive)
    return _measure(predictions.part, positive, truth, scores >= threshold)


def measure_decision(predictions: Predictions, positive: str) -> ThresholdScores:
    """The same of the rule in use: of what is called ``positive`` by it."""
    truth, _ = _binary(predictions, positive)
    answers = predictions.predicted[predictions.labelled]
    return _measure(
        predictions.part, positive, truth, answers == predictions.classes.index(positive)
    )


def _measure(
    part: str, positive: str, truth: NDArray[np.bool_], called: NDArray[np.bool_]
) -> ThresholdScores:
    hits = int((truth & called).sum())
    return ThresholdScores(
        part=part,
        called=int(called.sum()),
        false_alarms=int(called.sum()) - hits,
        misses=int(truth.sum()) - hits,
        precision=proportion(hits, int(called.sum()), f"no image is called {positive}"),
        recall=proportion(hits, int(truth.sum()), f"no image is {positive}"),
        accuracy=proportion(int((truth == called).sum()), len(truth), "there are no images"),
    )


@dataclass(frozen=True)
class ThresholdRow:
    """A wish, the threshold chosen for it on validation, and what it gives on each part.

    Where no threshold fulfils the wish, ``threshold`` is None, ``reason`` says so and
    ``parts`` is empty. The likeliest of more than two classes has no threshold either.
    """

    wish: str
    threshold: float | None
    parts: Mapping[str, ThresholdScores] = field(default_factory=dict)
    reason: str = ""


def threshold_table(
    validation: Predictions,
    others: Sequence[Predictions] = (),
    *,
    positive: str | None = None,
    wishes: Sequence[Wish] = USUAL_WISHES,
) -> list[ThresholdRow]:
    """A row a wish: the threshold chosen on validation and what it gives on each part.

    The first row is the rule in use, that of the predictions. ``positive`` defaults to the last
    class; with more than two it is told apart from all others together.
    """
    name = positive if positive is not None else validation.classes[-1]
    rows = [_rule_in_use(validation, others, name)]
    for wish in wishes:
        threshold = choose_threshold(validation, name, wish)
        if threshold is None:
            reason = f"no threshold has {wish} on the validation images"
            rows.append(ThresholdRow(str(wish), None, reason=reason))
        else:
            parts = {p.part: measure_threshold(p, name, threshold) for p in (validation, *others)}
            rows.append(ThresholdRow(str(wish), threshold, parts))
    return rows


def _rule_in_use(
    validation: Predictions, others: Sequence[Predictions], positive: str
) -> ThresholdRow:
    decision = validation.decision
    parts = {p.part: measure_decision(p, positive) for p in (validation, *others)}
    if decision is None:
        threshold = 0.5 if len(validation.classes) == 2 else None
        return ThresholdRow(f"{IN_USE}: the likeliest class", threshold, parts)
    threshold = decision.threshold
    if decision.positive != positive:  # the other one of two
        threshold = max(0.0, 1.0 - threshold)
    return ThresholdRow(f"{IN_USE}: {decision.why}", threshold, parts)


def _binary(
    predictions: Predictions, positive: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    if positive not in predictions.classes:
        raise DataError(
            f"There is no class '{positive}' to set a threshold for; the classes are "
            f"{', '.join(predictions.classes)}."
        )
    scored = predictions.select(predictions.labelled)
    if not len(scored):
        raise DataError(f"There are no labelled {predictions.part} images to set a threshold on.")
    index = predictions.classes.index(positive)
    truth: NDArray[np.bool_] = scored.labels == index
    return truth, scored.probabilities[:, index]


# --- the uncertain ones to a person -------------------------------------------------------------


def coverage_curve(
    predictions: Predictions,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy on the most confident images, as more and more of them are kept.

    Returns three float64 (K,), a point for each distinct confidence from high to low:
    coverage (share of images kept, 0..1), accuracy among these, and the confidence from
    which images are kept.
    """
    scored = predictions.select(predictions.labelled)
    order = np.argsort(-scored.confidence, kind="stable")
    ranked = scored.confidence[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
    rights = np.cumsum(scored.correct[order])[ends]
    return (ends + 1) / max(len(scored), 1), rights / (ends + 1), ranked[ends]


@dataclass(frozen=True)
class CoverageRow:
    """What answering only the surest images gives.

    Attributes:
        wished: share of the validation images to be answered; confidence: the limit that
            gives it.
        images, coverage: how many images, and which share of them, are answered then.
        accuracy, mistakes_left: of these.
    """

    wished: float
    confidence: float
    images: int
    coverage: Number
    accuracy: Number
    mistakes_left: int


def coverage_table(
    validation: Predictions,
    test: Predictions,
    kept: Sequence[float] = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5),
) -> list[CoverageRow]:
    """A row a wished coverage: the confidence limit from validation, what it gives on test."""
    scored = test.select(test.labelled)
    confidences = np.sort(validation.confidence)[::-1]
    rows = []
    for share in kept:
        last = max(1, round(share * len(confidences))) if len(confidences) else 0
        limit = 0.0 if share >= 1.0 or not last else float(confidences[last - 1])
        keep = scored.confidence >= limit
        rights, images = int(scored.correct[keep].sum()), int(keep.sum())
        rows.append(
            CoverageRow(
                wished=share,
                confidence=limit,
                images=images,
                coverage=proportion(images, len(scored), "there are no labelled images"),
                accuracy=proportion(rights, images, "no image is that certain"),
                mistakes_left=images - rights,
            )
        )
    return rows
