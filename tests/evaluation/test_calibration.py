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
from tellapart.evaluation.intervals import wilson
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
        "validation",
        ("fine", "crack"),
        tuple(f"{i}" for i in range(10)),
        labels,
        np.column_stack([1 - scores, scores]),
    )


@pytest.mark.parametrize(
    ("wish", "called"),
    [
        (Wish(precision=1.0), 3),  # the first three are right
        (Wish(precision=0.8), 5),  # 4 of 5, the most recall at that precision
        (Wish(recall=0.8), 5),  # 4 of 5 found
        (Wish(recall=1.0), 7),
        # The ten scores add up to the five cracks, so they do not lean: from 1 / 10 and 9 / 10.
        (Wish(costs=(1.0, 9.0)), 9),
        (Wish(costs=(9.0, 1.0)), 1),
    ],
)
def test_thresholds_give_what_is_wished(wish: Wish, called: int) -> None:
    threshold = choose_threshold(ladder(), "crack", wish)
    assert threshold is not None
    measured = measure_threshold(ladder(), "crack", threshold)
    assert measured.called == called


def test_a_wish_that_cannot_be_had_says_so() -> None:
    worst = ladder()
    flipped = Predictions(
        "validation", worst.classes, worst.paths, 1 - worst.labels, worst.probabilities
    )
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
        "test",
        ("a", "b"),
        ("1", "2", "3", "4"),
        np.array([0, 0, 1, 0]),
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


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "threshold"), [
    (Wish(precision=1.0), 7.5 / 11),  # halfway between the third score and the fourth
    (Wish(precision=0.8), 5.5 / 11),
    (Wish(recall=0.2), 9.5 / 11),
    (Wish(recall=1.0), 3.5 / 11),
    (Wish(precision=0.5), 0.5 / 11),  # all ten, and below the last there is only 0
    (Wish(recall=0.0), 9.5 / 11),
])  # fmt: skip
def test_a_threshold_lies_halfway_between_scores(wish: Wish, threshold: float) -> None:
    assert choose_threshold(ladder(), "crack", wish) == pytest.approx(threshold)


def test_what_a_threshold_gives_by_hand() -> None:
    found = measure_threshold(ladder(), "crack", 5.5 / 11)  # 1 1 1 0 1 | 0 1 0 0 0
    assert (found.part, found.called, found.false_alarms, found.misses) == ("validation", 5, 1, 1)
    shares = (found.precision, found.recall, found.accuracy)
    assert [share.measured() for share in shares] == [
        pytest.approx((0.8, *wilson(4, 5))), pytest.approx((0.8, *wilson(4, 5))),
        pytest.approx((0.8, *wilson(8, 10))),
    ]  # fmt: skip
    at = measure_threshold(ladder(), "crack", 6 / 11)  # at the threshold is above it
    assert at.called == 5
    none = measure_threshold(ladder(), "crack", 1.1)
    assert none.precision.reason == "no image is called crack" and none.recall.value == 0.0
    fine = replace(ladder(), labels=np.zeros(10, np.int64))
    assert measure_threshold(fine, "crack", 0.5).recall.reason == "no image is crack"


def test_nothing_can_be_set_or_measured_without_labels() -> None:
    hidden = replace(ladder(), labels=np.full(10, -1))
    with pytest.raises(DataError) as error:
        measure_threshold(hidden, "crack", 0.5)
    assert str(error.value) == "There are no labelled validation images to set a threshold on."
    with pytest.raises(DataError) as error:
        measure_threshold(ladder(), "dent", 0.5)
    assert str(error.value) == (
        "There is no class 'dent' to set a threshold for; the classes are fine, crack."
    )
    with pytest.raises(DataError) as error:
        choose_temperature(np.zeros((2, 2)), np.array([-1, -1]))
    assert str(error.value) == (
        "The temperature is fitted on labelled validation images and there are none; add a "
        "validation part."
    )


def test_the_words_of_wishes() -> None:
    wishes = (Wish(precision=0.95), Wish(recall=0.99), Wish(costs=(1.0, 2.5)))
    assert [str(wish) for wish in wishes] == [
        "precision at least 0.95", "recall at least 0.99",
        "least cost (1 a false alarm, 2.5 a miss)",
    ]  # fmt: skip
    with pytest.raises(ValueError) as error:
        Wish()
    assert str(error.value) == "A wish is one of precision, recall or costs."


def test_the_usual_table_is_about_the_last_class() -> None:
    rows = threshold_table(ladder())
    assert [row.wish for row in rows] == [
        "in use: the likeliest class", "precision at least 0.95", "precision at least 0.99",
        "recall at least 0.95", "recall at least 0.99",
        "least cost (1 a false alarm, 1 a miss)", "least cost (1 a false alarm, 10 a miss)",
        "least cost (10 a false alarm, 1 a miss)",
    ]  # fmt: skip
    assert [row.parts["validation"].called for row in rows[:5]] == [5, 3, 3, 7, 7]
    assert rows == threshold_table(ladder(), positive="crack")
    other = threshold_table(ladder(), positive="fine", wishes=[Wish(recall=1.0)])
    assert other[1].parts["validation"].called == 7  # 0 0 0 1 0 1 0 from below
    hopeless = threshold_table(
        replace(ladder(), labels=1 - ladder().labels), positive="crack", wishes=[Wish(precision=1)]
    )[1]
    assert (hopeless.wish, hopeless.threshold) == ("precision at least 1", None)
    assert hopeless.reason == "no threshold has precision at least 1 on the validation images"
    shares = [row.parts["validation"].precision.value for row in rows[:5]]
    assert shares == pytest.approx([0.8, 1.0, 1.0, 5 / 7, 5 / 7])


def test_the_other_of_two_classes_has_the_rest_of_the_threshold() -> None:
    never = replace(ladder(), decision=Decision("crack", 1.5))
    assert threshold_table(never, positive="fine")[0].threshold == 0.0
    assert threshold_table(never, positive="crack")[0].threshold == 1.5


def four() -> Predictions:
    return Predictions(
        "test",
        ("a", "b"),
        ("1", "2", "3", "4"),
        np.array([0, 0, 1, 0]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]),
    )


def test_coverage_table_by_hand() -> None:
    """Kept: all; three of four (0.8 and above, where two are tied); two, which makes it three."""
    rows = coverage_table(four(), four(), kept=(1.0, 0.75, 0.5, 0.25, 0.1))
    assert [row.wished for row in rows] == [1.0, 0.75, 0.5, 0.25, 0.1]
    assert [row.confidence for row in rows] == [0.0, 0.8, 0.8, 0.9, 0.9]
    assert [row.images for row in rows] == [4, 3, 3, 1, 1]
    assert [row.mistakes_left for row in rows] == [2, 1, 1, 0, 0]
    assert rows[1].coverage.measured() == pytest.approx((0.75, *wilson(3, 4)))
    assert rows[1].accuracy.measured() == pytest.approx((2 / 3, *wilson(2, 3)))
    unsure = replace(four(), probabilities=np.full((4, 2), 0.5))
    row = coverage_table(four(), unsure, kept=(0.5,))[0]
    assert row.accuracy.reason == "no image is that certain" and row.coverage.value == 0.0
    hidden = replace(four(), labels=np.full(4, -1))
    row = coverage_table(four(), hidden, kept=(0.5,))[0]
    assert row.coverage.reason == "there are no labelled images"
    empty = four().select([])
    assert coverage_table(empty, four(), kept=(0.5,))[0].images == 4
    assert len(coverage_table(four(), four())) == 6


def test_a_coverage_curve_of_few_and_of_none() -> None:
    partly = replace(four(), labels=np.array([0, -1, 1, 0]))
    coverage, accuracy, confidence = coverage_curve(partly)
    assert coverage == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert accuracy == pytest.approx([1.0, 0.5, 1 / 3])
    assert confidence.tolist() == [0.9, 0.8, 0.6]
    assert [len(values) for values in coverage_curve(four().select([]))] == [0, 0, 0]


def test_bins_hold_their_upper_limit() -> None:
    found = calibration_bins(np.array([0.5, 0.5001, 1.0, 0.0]), np.array([1, 0, 1, 0]) > 0, bins=2)
    assert found.numbers.tolist() == [0, 1] and found.images.tolist() == [2, 2]
    assert found.confidence == pytest.approx([0.5, 1.5001])
    assert found.error == pytest.approx((0.5 + 0.5001) / 4)
    assert calibration_bins(np.zeros(0), np.zeros(0, bool)).error == 0.0
    rows = reliability(np.array([0.2, 0.3, 0.9]), np.array([True, False, True]), bins=2)
    assert [(row.low, row.high, row.images) for row in rows] == [(0.0, 0.5, 2), (0.5, 1.0, 1)]
    assert [row.confidence for row in rows] == pytest.approx([0.25, 0.9])
    assert [row.accuracy for row in rows] == [0.5, 1.0]
    assert len(reliability(np.array([0.01, 0.99]), np.array([True, True]))) == 2


def test_a_temperature_that_the_data_do_not_settle_is_at_a_limit() -> None:
    """All mistakes are sure: as soft as can be; all wrong by a hair: as sharp as can be."""
    sure = np.log(np.array([[0.999, 0.001]] * 4))
    assert choose_temperature(sure, np.array([1, 1, 1, 0])) == pytest.approx(10.0)
    hair = np.array([[1.0, 0.0]] * 99 + [[0.0, 0.001]])
    assert choose_temperature(hair, np.zeros(100, np.int64)) == pytest.approx(0.1, rel=0.6)


def test_softened_probabilities_by_hand() -> None:
    """The square roots of 0.8 and 0.2 are two to one; their squares sixteen to one."""
    rows = np.array([[0.8, 0.2]])
    assert apply_temperature(rows, 2.0) == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert apply_temperature(rows, 0.5) == pytest.approx(np.array([[16 / 17, 1 / 17]]))
    certain = apply_temperature(np.array([[1.0, 0.0]]), 2.0)
    eps = np.sqrt(np.finfo(float).eps)
    assert certain == pytest.approx(np.array([[1 / (1 + eps), eps / (1 + eps)]]))
    assert log_probabilities(np.array([0.0, 1.0])) == pytest.approx(
        [np.log(np.finfo(float).eps), 0.0]
    )
