from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tellapart.evaluation import metrics
from tellapart.evaluation.calibration import calibration_bins
from tellapart.evaluation.intervals import calibration_limits, resample_weights
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.ranking import roc_auc

SIMULATIONS = 1000


def _numbers(content: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if isinstance(value, dict) and "method" in value:
            found[prefix + key] = value
        elif isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{key}.")
    return found


@pytest.mark.parametrize(("classes", "images"), [(2, 400), (5, 500)])
def test_95_percent_intervals_cover_the_truth(
    made, monkeypatch: pytest.MonkeyPatch, classes: int, images: int
) -> None:
    """Over 1,000 simulated test sets the truth lies inside in 93 to 97 % of cases.

    The truth is the value on 300,000 images. Fewer bootstrap resamples than in earnest keep
    this short; they make limits a little rougher.
    """
    full = metrics.bootstrap_sums
    monkeypatch.setattr(
        metrics, "bootstrap_sums",
        lambda values, seed: full(values, seed, 400 if len(values) == images else 2),
    )
    separation = 1.8 if classes == 2 else 2.5
    large = made(300_000, classes, separation=separation, seed=99)
    truth = _numbers(evaluate_predictions(large).to_json())
    inside = {name: 0 for name in truth if "class 1" in name or "per_class" not in name}
    for seed in range(SIMULATIONS):
        sample = made(images, classes, separation=separation, seed=seed)
        found = _numbers(evaluate_predictions(sample, seed=seed).to_json())
        for name in inside:
            low, high = found[name]["low"], found[name]["high"]
            inside[name] += low <= truth[name]["value"] <= high
    coverage = {name: count / SIMULATIONS for name, count in inside.items()}
    outside = {name: share for name, share in coverage.items() if not 0.93 <= share <= 0.97}
    assert outside == {}


def test_calibration_limits_hold_where_confidence_is_right() -> None:
    """The hardest place: the true error is 0 and the measured one never is."""
    inside = 0
    for seed in range(SIMULATIONS):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(0.5, 1.0, 400)
        bins = calibration_bins(confidence, generator.random(400) < confidence)
        low, high = calibration_limits(bins.images, bins.right, bins.confidence, seed, 300)
        assert 0 <= low <= bins.error <= high
        inside += low == 0.0
    assert 0.93 <= inside / SIMULATIONS <= 0.97


def test_delong_variance_by_definition() -> None:
    """DeLong et al. 1988 with every pair compared, against ours from ranks."""
    generator = np.random.default_rng(3)
    truth = np.arange(60) < 25
    scores = np.round(generator.normal(size=60) + truth, 1)  # rounded: ties
    ours, influence = roc_auc(truth, scores)
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    variance = wins.mean(axis=1).var(ddof=1) / 25 + wins.mean(axis=0).var(ddof=1) / 35
    assert ours == pytest.approx(wins.mean())
    assert (influence**2).sum() == pytest.approx(variance)


def test_jackknife_agrees_with_a_plain_bootstrap(made) -> None:
    """Influences of average precision and macro F1 against resampling the images."""
    predictions = made(800, 4, separation=1.5)
    found = evaluate_predictions(predictions)
    generator = np.random.default_rng(0)
    resampled: dict[str, list[float]] = {"average_precision": [], "f1": []}
    for _ in range(300):
        rows = generator.integers(0, 800, 800)
        truth, scores = predictions.labels[rows] == 1, predictions.probabilities[rows, 1]
        from sklearn.metrics import average_precision_score, f1_score

        resampled["average_precision"].append(average_precision_score(truth, scores))
        resampled["f1"].append(
            f1_score(predictions.labels[rows], predictions.predicted[rows], average="macro")
        )
    for name, number in (
        ("average_precision", found.per_class["class 1"].average_precision),
        ("f1", found.macro.f1),
    ):
        low, high = np.quantile(resampled[name], (0.025, 0.975))
        assert number.high - number.low == pytest.approx(high - low, rel=0.15), name


@pytest.mark.parametrize("images", [7, 5000])
def test_resampled_weights_are_counts_of_draws(images: int) -> None:
    weights = np.concatenate(list(resample_weights(images, 0, 60)))
    assert weights.shape == (60, images)
    assert (weights.sum(axis=1) == images).all()
    assert weights.var() == pytest.approx(1.0, rel=0.15)  # nearly Poisson
