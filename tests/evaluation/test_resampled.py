"""Intervals from accuracies that share images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tellapart.evaluation.resampled import accuracy_of_procedure, corrected_mean, mean_difference


def test_the_corrected_t_interval_of_nadeau_and_bengio() -> None:
    values = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    # (1/J + n2/n1) S^2 with J = 5 and n2/n1 = 1/4, Student with 4 degrees of freedom, by hand.
    spread = ((values - values.mean()) ** 2).sum() / 4
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1 / 4) * spread)
    number = mean_difference(values, 0.25)
    assert number.value == pytest.approx(values.mean())
    assert number.measured()[1:] == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=2e-4
    )


def test_an_accuracy_stays_within_0_and_1_and_is_skewed_near_1() -> None:
    value, low, high = accuracy_of_procedure(
        np.array([1.0, 0.95, 1.0, 1.0, 0.95]), tested=20, ratio=0.25
    ).measured()
    assert value == pytest.approx(0.98)
    assert 0.0 < low < high <= 1.0
    assert value - low > high - value


def test_all_right_is_not_sure_to_be_all_right() -> None:
    """Ten splits of 20 tested images each, all right: as for 20 / (1/10 + 1/4) = 57 images."""
    number = accuracy_of_procedure(np.ones(10), tested=20, ratio=0.25)
    # Wilson's lower limit of 57.14 of 57.14: n / (n + z^2).
    assert number.measured() == pytest.approx((1.0, 57.142857 / (57.142857 + 3.841459), 1.0))


def test_one_split_says_nothing_about_others() -> None:
    assert accuracy_of_procedure(np.array([0.9]), 20, 0.25).reason == "there is one split only"
    assert not mean_difference(np.array([0.1]), 0.25).known


def test_more_repeats_never_make_it_as_narrow_as_independent_images_would() -> None:
    random = np.random.default_rng(0)
    many = random.binomial(20, 0.9, 1000) / 20
    _, variance, _ = corrected_mean(many, 0.25)
    assert variance == pytest.approx(0.251 * many.var(ddof=1))


def test_it_covers_what_a_fresh_training_gives() -> None:
    """Nearest class means on two clouds: the true accuracy of a fitted one has a formula.

    The full simulation, of the whole procedure, is benchmarks/coverage_of_refits.py.
    """
    random = np.random.default_rng(1)
    width, images, shift = 10, 60, 0.35

    def fitted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
        a, b = x[y == 0].mean(axis=0), x[y == 1].mean(axis=0)
        return b - a, float((b - a) @ (a + b) / 2)

    def truth(weight: np.ndarray, limit: float) -> float:
        length = np.linalg.norm(weight)
        centre = shift * weight.sum()
        return float(
            (stats.norm.cdf((limit + centre) / length) + stats.norm.cdf((centre - limit) / length))
            / 2
        )

    def draw() -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(images) % 2
        return random.normal(size=(images, width)) + shift * (2 * y[:, None] - 1), y

    held = []
    for _ in range(200):
        x, y = draw()
        accuracies = []
        for _ in range(6):
            # Stratified: an equal share of both classes in each fold.
            folds = np.empty(images, int)
            for label in (0, 1):
                folds[y == label] = random.permutation(np.arange(images // 2) % 5)
            for fold in range(5):
                rest, out = folds != fold, folds == fold
                weight, limit = fitted(x[rest], y[rest])
                accuracies.append(float(((x[out] @ weight > limit) == y[out]).mean()))
        _, low, high = accuracy_of_procedure(np.array(accuracies), images / 5, 0.25).measured()
        fresh_x, fresh_y = draw()
        rest = np.arange(images) < images * 4 // 5
        held.append(low <= truth(*fitted(fresh_x[rest], fresh_y[rest])) <= high)
    assert 0.91 <= np.mean(held) <= 0.99  # 93 to 97 %, and the chance of 200 draws
