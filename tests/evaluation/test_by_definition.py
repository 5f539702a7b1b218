"""Every interval of a part from its definition: influences by pairs or by moving weights a little.

``docs/how-numbers-are-computed.md`` has the formulas; here they are applied to influences that are
found without the formulas of the code: how a metric of scikit-learn changes when one image counts a
little more, and for the AUC by comparing every pair of images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from tellapart.evaluation.calibration import calibration_bins
from tellapart.evaluation.image_groups import ImageGroups, image_groups
from tellapart.evaluation.intervals import (
    calibration_limits,
    mean_loss,
    wilson,
    wilson_from_variance,
)
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.ranking import auc_variance
from tellapart.number import Number

Weights = NDArray[np.float64]
SETS = [
    {"images": 60, "classes": 2, "separation": 1.5},
    {"images": 90, "classes": 3, "separation": 1.8},
    {"images": 0, "classes": 2, "separation": 1.2, "group_sizes": [1, 4, 2, 6, 3] * 6,
     "alike": 0.7},
    {"images": 0, "classes": 3, "separation": 1.8, "group_sizes": [5, 1, 3] * 12, "alike": 0.5},
]  # fmt: skip


def influences(metric: Callable[[Weights], float], images: int) -> Weights:
    """How a number moves with the weight of each image."""
    step, found = 1e-4, np.empty(images)
    for i in range(images):
        weights = np.ones(images)
        weights[i] += step
        above = metric(weights)
        weights[i] -= 2 * step
        found[i] = (above - metric(weights)) / (2 * step)
    return found


def effect_of(groups: ImageGroups | None, influence: Weights) -> float:
    return 1.0 if groups is None else groups.design_effect(influence)


def told(number: Number) -> tuple[float, float, float]:
    return number.measured()


def parts(made, how) -> tuple[Predictions, ImageGroups | None]:
    predictions = made(seed=4, **how)
    groups = image_groups(predictions.groups)
    assert (groups is None) == ("group_sizes" not in how)
    return predictions, groups


@pytest.mark.parametrize("how", SETS)
def test_accuracy_is_wilsons_of_fewer_images(made, how) -> None:
    predictions, groups = parts(made, how)
    right = predictions.correct.astype(float)
    effect, images = effect_of(groups, right), len(right)
    expected = (right.mean(), *wilson(right.sum() / effect, images / effect))
    found = evaluate_predictions(predictions).accuracy
    assert told(found) == pytest.approx(expected)
    assert found.method == ("wilson" if groups is None else "wilson, grouped images")


@pytest.mark.parametrize("how", SETS)
def test_the_shares_of_a_class_are_wilsons_of_its_images(made, how) -> None:
    predictions, groups = parts(made, how)
    labels, called = predictions.labels, predictions.predicted
    for index, row in enumerate(evaluate_predictions(predictions).per_class.values()):
        members = {
            "precision": called == index, "recall": labels == index,
            "f1": (called == index) | (labels == index),
        }  # fmt: skip
        for name, among in members.items():
            rows = np.flatnonzero(among)
            right = (called == labels)[rows].astype(float)
            effect = 1.0 if groups is None else groups.design_effect(right, rows)
            limits = (right.mean(), *wilson(right.sum() / effect, len(rows) / effect))
            if name == "f1":
                limits = tuple(2 * share / (1 + share) for share in limits)
            assert told(getattr(row, name)) == pytest.approx(limits), (index, name)


@pytest.mark.parametrize("how", SETS)
@pytest.mark.parametrize("name", ["recall", "f1"])
def test_weighted_averages_are_by_the_jackknife(made, how, name: str) -> None:
    predictions, groups = parts(made, how)
    labels, called = predictions.labels, predictions.predicted
    score = {"recall": reference.recall_score, "f1": reference.f1_score}[name]

    def metric(weights: Weights) -> float:
        return float(score(labels, called, average="weighted", sample_weight=weights))

    influence = influences(metric, len(labels))
    effect, value = effect_of(groups, influence), metric(np.ones(len(labels)))
    variance = float((influence**2).sum()) * effect
    limits = wilson_from_variance(value, variance, len(labels) / effect)
    found = getattr(evaluate_predictions(predictions).weighted, name)
    assert told(found) == pytest.approx((value, *limits), rel=1e-4)
    assert found.method == ("jackknife" if groups is None else "jackknife, grouped images")


def delong(truth: NDArray[np.bool_], scores: Weights) -> tuple[float, Weights]:
    """Area and influences by comparing every pair (DeLong et al. 1988)."""
    ahead = scores[truth][:, None] - scores[~truth][None, :]
    wins = (ahead > 0) + 0.5 * (ahead == 0)
    area, influence = float(wins.mean()), np.empty(len(truth))
    for kind, placed in ((truth, wins.mean(axis=1)), (~truth, wins.mean(axis=0))):
        influence[kind] = (placed - area) / np.sqrt(kind.sum() * (kind.sum() - 1))
    return area, influence


@pytest.mark.parametrize("how", SETS)
def test_areas_of_each_class_and_of_all(made, how) -> None:
    predictions, groups = parts(made, how)
    found = evaluate_predictions(predictions)
    labels, classes = predictions.labels, len(predictions.classes)
    values: dict[str, list[float]] = {"roc_auc": [], "average_precision": []}
    sums = {name: np.zeros(len(labels)) for name in values}
    single, raised = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    fewest = dict.fromkeys(values, np.inf)
    for index, row in enumerate(found.per_class.values()):
        truth, scores = labels == index, predictions.probabilities[:, index]
        positives, negatives = int(truth.sum()), int((~truth).sum())
        area, of_area = delong(truth, scores)

        def metric(weights: Weights, truth=truth, scores=scores) -> float:
            return float(reference.average_precision_score(truth, scores, sample_weight=weights))

        precision, of_precision = metric(np.ones(len(labels))), influences(metric, len(labels))
        effect = effect_of(groups, of_area)
        trials = min(positives, negatives)
        of = (area, effect * float((of_area**2).sum()), positives / effect, negatives / effect)
        variance = auc_variance(*of, raised=max(0.1, min(1.0, 5.0 / trials)))
        limits = wilson_from_variance(area, variance, trials / effect)
        assert told(row.roc_auc) == pytest.approx((area, *limits), rel=1e-4)
        if classes > 2:  # of two classes the mean is the area of each
            variance = auc_variance(*of)
        _add("roc_auc", area, of_area, variance / effect, trials, values, sums, single, raised,
             fewest)  # fmt: skip
        effect = effect_of(groups, of_precision)
        few = max(positives / effect, 2.0)
        variance = effect * float((of_precision**2).sum()) * (few + 3) / (few - 1)
        part, alone = min(1 / 3, 5 / positives), precision * (1 - precision) * effect / positives
        variance = max(variance, variance + part * (alone - variance))
        limits = wilson_from_variance(precision, variance, positives / effect)
        assert told(row.average_precision) == pytest.approx((precision, *limits), rel=1e-4)
        _add("average_precision", precision, of_precision, variance / effect, positives, values,
             sums, single, raised, fewest)  # fmt: skip
    for name in values:
        value, influence = float(np.mean(values[name])), sums[name] / classes
        effect = effect_of(groups, influence)
        variance = float((influence**2).sum()) * raised[name] / single[name]
        limits = wilson_from_variance(value, variance * effect, fewest[name] / effect)
        number = getattr(found, name)
        assert told(number) == pytest.approx((value, *limits), rel=1e-4), name
        assert number.method == ("jackknife" if groups is None else "jackknife, grouped images")


def test_a_class_with_one_image_has_the_spread_of_the_others_in_the_mean(made) -> None:
    """Its own placement is one number; counted as certain, the mean would look better known.

    Its variance is the classes' common one, sum of squares over degrees of freedom.
    """
    drawn = made(60, 3, separation=1.5)
    first = np.flatnonzero(drawn.labels == 2)[0]
    drawn = drawn.select(np.flatnonzero((drawn.labels < 2) | (np.arange(60) == first)))
    labels, total = drawn.labels, np.zeros(len(drawn))
    areas, single, raised, squares, freedom = [], 0.0, 0.0, 0.0, 0
    for index in range(3):
        truth, scores = labels == index, drawn.probabilities[:, index]
        ahead = scores[truth][:, None] - scores[~truth][None, :]
        wins = (ahead > 0) + 0.5 * (ahead == 0)
        area, influence = float(wins.mean()), np.zeros(len(labels))
        for kind, placed in ((truth, wins.mean(axis=1)), (~truth, wins.mean(axis=0))):
            many = max(int(kind.sum()) - 1, 1)
            influence[kind] = (placed - area) / np.sqrt(kind.sum() * many)
        squares += float(((wins.mean(axis=1) - area) ** 2).sum())
        freedom += int(truth.sum()) - 1
        areas.append(area)
        total += influence / 3
        single += float((influence**2).sum())
        raised += auc_variance(
            area, float((influence**2).sum()), int(truth.sum()), int((~truth).sum())
        )
    variance = float((total**2).sum()) * raised / single + squares / freedom / 9
    value = float(np.mean(areas))
    limits = wilson_from_variance(value, variance, 1)
    assert told(evaluate_predictions(drawn).roc_auc) == pytest.approx((value, *limits), rel=1e-6)


def _add(name, value, influence, variance, trials, values, sums, single, raised, fewest) -> None:
    values[name].append(value)
    sums[name] += influence
    single[name] += float((influence**2).sum())
    raised[name] += variance
    fewest[name] = min(fewest[name], trials)


@pytest.mark.parametrize("how", SETS)
def test_losses_have_gamma_limits_with_half_an_image_at_its_runner_up(made, how) -> None:
    predictions, groups = parts(made, how)
    found, rows = evaluate_predictions(predictions), predictions.probabilities
    order = np.argsort(rows, axis=1)
    second = order[:, -2]
    numbers = np.arange(len(rows))
    one_hot, runner_up = np.eye(rows.shape[1])[predictions.labels], np.eye(rows.shape[1])[second]
    half = 0.5 if rows.shape[1] == 2 else 1.0
    losses = {
        "log_loss": (-np.log(rows[numbers, predictions.labels]), -np.log(rows[numbers, second])),
        "brier": (((rows - one_hot) ** 2).sum(axis=1) * half,
                  ((rows - runner_up) ** 2).sum(axis=1) * half),
    }  # fmt: skip
    largest = {"log_loss": -np.log(np.finfo(float).eps), "brier": 2 * half}
    for name, (measured, wrong) in losses.items():
        effect = effect_of(groups, measured)
        expected = mean_loss(measured, float(wrong.mean()), largest[name], effect)
        assert told(getattr(found, name)) == pytest.approx(told(expected)), name


@pytest.mark.parametrize("how", SETS)
def test_the_calibration_error_knows_groups_by_how_far_confidence_is_off(made, how) -> None:
    predictions, groups = parts(made, how)
    correct, confidence = predictions.correct, predictions.confidence
    effect = effect_of(groups, correct - confidence)
    bins = calibration_bins(confidence, correct)
    for seed in (0, 7):
        limits = calibration_limits(bins.images, bins.right, bins.confidence, seed, effect=effect)
        found = evaluate_predictions(predictions, seed=seed).calibration_error
        assert told(found) == (bins.error, *limits)
    assert found.method == ("simulation" if groups is None else "simulation, grouped images")


def test_a_brier_score_cannot_exceed_its_largest() -> None:
    """One image, sure and wrong: 1 with two classes, 2 with more; both are the limit."""
    for classes, most in ((2, 1.0), (3, 2.0)):
        rows = np.full((2, classes), 0.0)
        rows[:, 1] = 1.0
        found = evaluate_predictions(
            Predictions("test", tuple("abc"[:classes]), ("1", "2"), np.zeros(2, np.int64), rows)
        )
        assert found.brier.value == found.brier.high == most
        assert found.log_loss.high == pytest.approx(-np.log(np.finfo(float).eps))


def test_one_image_of_a_class_has_an_area_all_the_same(made) -> None:
    predictions = made(40, 2, separation=1.0)
    found = (
        evaluate_predictions(replace(predictions, labels=(np.arange(40) == 7).astype(np.int64)))
        .per_class["class 1"]
        .roc_auc
    )
    scores = predictions.probabilities[:, 1]
    below = np.delete(scores, 7) < scores[7]
    assert found.value == pytest.approx(below.mean())
    assert found.low < found.value < found.high
