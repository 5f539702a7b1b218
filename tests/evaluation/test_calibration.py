from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from tellapart.errors import DataError
from tellapart.evaluation.calibration import (
    Wish,
    apply_temperature,
    calibration_bins,
    choose_temperature,
    choose_threshold,
    coverage_curve,
    coverage_table,
    log_probabilities,
    measure_threshold,
    reliability,
    threshold_table,
    with_temperature,
)
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.predictions import Predictions


@pytest.mark.parametrize(("classes", "sharpness"), [(2, 6.0), (4, 0.7)])
def test_temperature_is_the_minimum_of_the_log_loss(made, classes: int, sharpness: float) -> None:
    predictions = made(600, classes, sharpness=sharpness)
    logits = log_probabilities(predictions.probabilities)
    found = choose_temperature(logits, predictions.labels)

    def loss(log_temperature: float) -> float:
        scaled = np.exp(logits / np.exp(log_temperature))
        return log_loss(predictions.labels, scaled / scaled.sum(axis=1, keepdims=True))

    best = minimize_scalar(loss, bounds=(-2.3, 2.3), method="bounded")
    assert found == pytest.approx(np.exp(best.x), rel=1e-3)
    assert (found > 1) == (sharpness > 2)  # sharpened too much: soften
    softened = with_temperature(predictions, found)
    assert (softened.predicted == predictions.predicted).all()
    before, after = (
        calibration_bins(p.confidence, p.correct).error for p in (predictions, softened)
    )
    assert after < before / 2


def test_temperature_ignores_unknown_labels_and_needs_some(made) -> None:
    predictions = made(300)
    logits = log_probabilities(predictions.probabilities)
    some = np.where(np.arange(300) < 100, -1, predictions.labels)
    labelled = choose_temperature(logits[100:], predictions.labels[100:])
    assert choose_temperature(logits, some) == labelled
    with pytest.raises(DataError, match="none; add a validation part"):
        choose_temperature(logits, np.full(300, -1))


def test_without_a_mistake_nothing_is_sharpened(made) -> None:
    predictions = made(50, separation=50)
    logits = log_probabilities(predictions.probabilities)
    assert choose_temperature(logits, predictions.labels) == 1.0
    assert apply_temperature(predictions.probabilities, 1.0) is predictions.probabilities


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.96, 0.94, 0.55])
    correct = np.array([True, True, False, False])
    bins = calibration_bins(confidence, correct)
    assert bins.error == pytest.approx((abs(2 - 2.85) + 0.55) / 4)
    assert bins.numbers.tolist() == [8, 14]
    assert (bins.images.tolist(), bins.right.tolist()) == ([1, 3], [0, 2])
    rows = reliability(confidence, correct)
    assert [row.images for row in rows] == [1, 3]
    assert rows[1].accuracy == pytest.approx(2 / 3)
    assert (rows[1].low, rows[1].high) == pytest.approx((14 / 15, 1.0))
    whole = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert [row.images for row in whole] == [1, 1]  # the ends belong to the outer bins


def ladder() -> Predictions:
    """Ten images by falling score of "crack": 1 1 1 0 1 0 1 0 0 0."""
    labels = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 0])
    scores = np.arange(10, 0, -1) / 11
    return Predictions(
        "validation", ("fine", "crack"), tuple(f"{i}" for i in range(10)), labels,
        np.column_stack([1 - scores, scores]),
    )


@pytest.mark.parametrize(("wish", "called"), [
    (Wish(precision=1.0), 3),   # the first three are right
    (Wish(precision=0.8), 5),   # 4 of 5, the most recall at that precision
    (Wish(recall=0.8), 5),      # 4 of 5 found
    (Wish(recall=1.0), 7),
    # The ten scores add up to the five cracks, so they do not lean: from 1 / (1 + 9) and 9 / 10.
    (Wish(costs=(1.0, 9.0)), 9),
    (Wish(costs=(9.0, 1.0)), 1),
])
def test_thresholds_give_what_is_wished(wish: Wish, called: int) -> None:
    threshold = choose_threshold(ladder(), "crack", wish)
    assert threshold is not None
    measured = measure_threshold(ladder(), "crack", threshold)
    assert measured.called == called


def test_a_wish_that_cannot_be_had_says_so() -> None:
    worst = ladder()
    flipped = Predictions("validation", worst.classes, worst.paths, 1 - worst.labels,
                          worst.probabilities)
    assert choose_threshold(flipped, "crack", Wish(precision=0.99)) is None
    row = threshold_table(flipped, positive="crack", wishes=[Wish(precision=0.99)])[1]
    assert row.threshold is None and row.parts == {}
    assert row.reason == "no threshold has precision at least 0.99 on the validation images"


def test_calling_nothing_can_be_cheapest() -> None:
    threshold = choose_threshold(ladder(), "crack", Wish(costs=(1000.0, 0.001)))
    assert threshold is not None
    assert measure_threshold(ladder(), "crack", threshold).false_alarms == 0
    assert measure_threshold(ladder(), "crack", threshold).called == 0


def test_threshold_chosen_on_validation_is_measured_on_test(made) -> None:
    validation, test = made(500, part="validation"), made(500, seed=5)
    rows = threshold_table(validation, [test])
    assert len(rows) == 8 and set(rows[0].parts) == {"validation", "test"}
    row = next(row for row in rows if row.wish == "recall at least 0.95")
    assert row.parts["validation"].recall.value >= 0.95
    assert row.parts["test"].recall.value > 0.9


def test_the_first_row_is_the_rule_in_use() -> None:
    likeliest = threshold_table(ladder(), positive="crack")[0]
    assert (likeliest.wish, likeliest.threshold) == ("in use: the likeliest class", 0.5)
    scores = likeliest.parts["validation"]  # five scores above one half: 1 1 1 0 1
    assert (scores.called, scores.false_alarms, scores.misses) == (5, 1, 1)
    ruled = replace(ladder(), decision=Decision("crack", 0.2, cost_miss=4.0))
    row = threshold_table(ruled, positive="crack")[0]
    assert (row.wish, row.threshold) == ("in use: a miss costs 4 times a false alarm", 0.2)
    scores = row.parts["validation"]  # from 3/11 up: 1 1 1 0 1 0 1 0
    assert (scores.called, scores.false_alarms, scores.misses) == (8, 3, 0)
    other = threshold_table(ruled, positive="fine")[0]  # the same rule, seen from the other class
    assert other.threshold == 0.8
    scores = other.parts["validation"]
    assert (scores.called, scores.false_alarms, scores.misses) == (2, 0, 3)


def test_one_of_several_classes_is_told_from_all_others(made) -> None:
    several = made(300, 3)
    threshold = choose_threshold(several, "class 1", Wish(recall=0.9))
    assert measure_threshold(several, "class 1", threshold).recall.value >= 0.9
    assert threshold_table(several, positive="class 1")[0].threshold is None
    with pytest.raises(DataError, match="no class 'class 7' to set a threshold for"):
        choose_threshold(several, "class 7", Wish(recall=0.9))


def test_a_wish_is_one_thing() -> None:
    with pytest.raises(ValueError, match="one of precision"):
        Wish(precision=0.9, recall=0.9)


def test_coverage_curve_by_hand() -> None:
    predictions = Predictions(
        "test", ("a", "b"), ("1", "2", "3", "4"), np.array([0, 0, 1, 0]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]),
    )
    coverage, accuracy, confidence = coverage_curve(predictions)
    assert coverage.tolist() == [0.25, 0.75, 1.0]  # a tie is kept or left whole
    assert accuracy.tolist() == pytest.approx([1.0, 2 / 3, 0.5])
    assert confidence.tolist() == [0.9, 0.8, 0.6]


def test_coverage_table_limits_come_from_validation(made) -> None:
    validation, test = made(1000, part="validation"), made(1000, seed=3)
    rows = coverage_table(validation, test)
    assert rows[0].images == 1000 and rows[0].confidence == 0.0
    accuracies = [row.accuracy.value for row in rows]
    assert accuracies[-1] > accuracies[0]
    for row in rows:
        assert row.coverage.value == pytest.approx(row.wished, abs=0.05)
        share_kept = (validation.confidence >= row.confidence).mean()
        assert share_kept == pytest.approx(row.wished, abs=0.01)
