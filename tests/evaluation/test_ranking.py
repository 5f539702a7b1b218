"""Areas and curves by comparing every pair of images, and by scikit-learn; ties included."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tellapart.evaluation.ranking import (
    auc_variance,
    average_precision,
    precision_recall_points,
    precision_variance,
    raised_for,
    roc_auc,
    roc_points,
)


def ties() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    truth = np.arange(50) % 3 == 0
    return truth, np.round(generator.normal(size=50) + truth, 1)


def test_the_area_and_its_influences_by_all_pairs() -> None:
    truth, scores = ties()
    area, influence = roc_auc(truth, scores)
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    assert area == pytest.approx(wins.mean())
    positives, negatives = wins.shape
    assert influence[truth] == pytest.approx(
        (wins.mean(axis=1) - area) / np.sqrt(positives * (positives - 1))
    )
    assert influence[~truth] == pytest.approx(
        (wins.mean(axis=0) - area) / np.sqrt(negatives * (negatives - 1))
    )


def test_one_image_of_a_kind_has_no_spread() -> None:
    area, influence = roc_auc(np.array([True, False, False]), np.array([0.5, 0.2, 0.8]))
    assert area == 0.5 and influence[0] == 0.0
    assert influence[1:] == pytest.approx(np.array([0.5, -0.5]) / np.sqrt(2))


def test_average_precision_and_its_influences_by_moving_weights() -> None:
    truth, scores = ties()
    area, influence = average_precision(truth, scores)
    assert area == pytest.approx(reference.average_precision_score(truth, scores))
    for row in range(50):
        up, down = np.ones(50), np.ones(50)
        up[row] += 1e-5
        down[row] -= 1e-5
        slope = (
            reference.average_precision_score(truth, scores, sample_weight=up)
            - reference.average_precision_score(truth, scores, sample_weight=down)
        ) / 2e-5
        assert influence[row] == pytest.approx(slope, abs=1e-6), row


def test_curves_are_scikit_learns() -> None:
    truth, scores = ties()
    alarms, hits, thresholds = roc_points(truth, scores)
    expected = reference.roc_curve(truth, scores, drop_intermediate=False)
    for ours, theirs in zip((alarms, hits, thresholds), expected, strict=True):
        assert ours == pytest.approx(theirs)
    recall, precision, thresholds = precision_recall_points(truth, scores)
    theirs = reference.precision_recall_curve(truth, scores)
    assert precision == pytest.approx(theirs[0][:-1][::-1])
    assert recall == pytest.approx(theirs[1][:-1][::-1])
    assert thresholds == pytest.approx(theirs[2][::-1])


def test_recall_is_a_share_of_all_images_of_the_class_the_last_one_too() -> None:
    truth, scores = np.array([True, False, True]), np.array([0.9, 0.5, 0.1])
    recall, precision, _ = precision_recall_points(truth, scores)
    assert recall.tolist() == [0.5, 0.5, 1.0]
    assert precision == pytest.approx([1, 1 / 2, 2 / 3])


def test_curves_of_one_kind_stay_at_nought() -> None:
    scores = np.array([0.9, 0.4, 0.4])
    alarms, hits, _ = roc_points(np.zeros(3, bool), scores)
    assert hits.tolist() == [0, 0, 0] and alarms == pytest.approx([0, 1 / 3, 1])
    alarms, hits, _ = roc_points(np.ones(3, bool), scores)
    assert alarms.tolist() == [0, 0, 0] and hits == pytest.approx([0, 1 / 3, 1])
    recall, precision, thresholds = precision_recall_points(np.zeros(3, bool), scores)
    assert recall.tolist() == precision.tolist() == [0, 0]
    assert thresholds.tolist() == [0.9, 0.4]


def test_hanley_and_mcneils_variance_by_hand() -> None:
    """A = 0.8 with 11 and 9 images: their mean 10 stands in for both numbers.

    Q1 = A / (2 - A) = 2/3, Q2 = 2 A^2 / (1 + A) = 0.7111; the variance is
    (A (1 - A) + 9 (Q1 - A^2) + 9 (Q2 - A^2)) / 99 = 0.01050.
    """
    area = 0.8
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    expected = (area * (1 - area) + 9 * (first - area**2) + 9 * (second - area**2)) / 99
    assert auc_variance(area, 0.0, 11, 9) == pytest.approx(0.1 * expected)
    assert auc_variance(area, 0.005, 11, 9) == pytest.approx(0.9 * 0.005 + 0.1 * expected)
    assert auc_variance(area, 0.05, 11, 9) == 0.05  # DeLong's is the larger
    assert auc_variance(1.0, 0.0, 11, 9) == 0.0
    one = area * (1 - area)  # an image of each kind: no others to be compared with
    assert auc_variance(area, 0.0, 1, 1) == pytest.approx(0.1 * one)
    assert auc_variance(area, 0.0, 0.5, 0.5) == pytest.approx(0.1 * one / 0.25)


def test_of_few_images_the_variance_is_that_of_exponential_scores() -> None:
    """One image of a class has no spread that DeLong's variance could see."""
    assert [raised_for(n, 300) for n in (1, 5, 10, 50, 200)] == [1.0, 1.0, 0.5, 0.1, 0.1]
    assert raised_for(300, 4) == 1.0  # of the rarer kind
    whole = auc_variance(0.8, 0.0, 11, 9) * 10
    assert auc_variance(0.8, 0.0, 11, 9, raised=1.0) == pytest.approx(whole)
    assert auc_variance(0.8, 0.002, 11, 9, raised=0.5) == pytest.approx(0.001 + whole / 2)


def test_average_precision_varies_a_third_as_a_proportion_where_images_are_few() -> None:
    """0.9 of 10 images: 0.9 x 0.1 / 10 = 0.009, from 0.003 a third of the way: 0.005."""
    assert precision_variance(0.9, 0.003, 10) == pytest.approx(0.005)
    assert precision_variance(0.9, 0.02, 10) == 0.02  # is larger already
    # Of 100 images 5 / 100 of the way from 0.0003 to 0.0009, in pairs of equal ones to 0.0018.
    assert precision_variance(0.9, 0.0003, 100) == pytest.approx(0.00033)
    assert precision_variance(0.9, 0.0003, 100, 2.0) == pytest.approx(0.000375)
