"""The probe against scikit-learn used plainly, and how it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.preprocessing import StandardScaler

from tellapart.errors import DataError
from tellapart.recipe import ProbeSettings
from tellapart.training.probe import log_loss, train_probe


def clouds(
    count: int, num_classes: int, seed: int, spread: float = 1.5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(num_classes, 12))
    labels = np.arange(count) % num_classes
    features = centres[labels] + spread * random.normal(size=(count, 12))
    return (5 + 3 * features).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_probe_is_the_logistic_regression_that_validation_prefers(num_classes: int) -> None:
    train, y = clouds(240, num_classes, seed=1)
    held_out, z = clouds(160, num_classes, seed=2)
    settings = ProbeSettings(strengths=(0.001, 0.03, 1.0))
    probe = train_probe(train[None], y, held_out[None], z, settings, num_classes=num_classes)

    scaler = StandardScaler().fit(train)
    losses = {}
    for strength in settings.strengths:
        model = LogisticRegression(C=strength, max_iter=2000, tol=1e-8)
        model.fit(scaler.transform(train), y)
        losses[strength] = sklearn_log_loss(z, model.predict_proba(scaler.transform(held_out)))
    best = min(losses, key=losses.__getitem__)
    assert probe.strength == best
    for strength, loss in probe.losses.items():
        assert loss == pytest.approx(losses[strength], abs=2e-3)
    logits = probe.logits(held_out)
    assert logits.shape == (160, num_classes)
    assert log_loss(logits, z) == pytest.approx(losses[best], abs=2e-3)


def test_few_validation_images_leave_the_choice_to_cross_validation() -> None:
    train, y = clouds(60, 3, seed=3)
    held_out, z = clouds(9, 3, seed=4)
    probe = train_probe(train[None], y, held_out[None], z, ProbeSettings(), num_classes=3)
    assert probe.chosen_by == "cross-validation"
    assert np.mean(probe.logits(held_out).argmax(axis=1) == z) > 0.5


def test_views_are_averaged_and_share_their_image_s_fold() -> None:
    train, y = clouds(80, 2, seed=5)
    views = np.stack([train, train[:, ::-1]])
    probe = train_probe(views, y, views[:, :0], y[:0], ProbeSettings(), num_classes=2)
    assert probe.weight.shape == (2, 12)


def test_a_class_with_one_image_is_said() -> None:
    train, y = clouds(9, 2, seed=6)
    y = np.array([0] * 8 + [1])
    with pytest.raises(DataError, match="one training image"):
        train_probe(train[None], y, train[None, :0], y[:0], ProbeSettings(), num_classes=2)


def test_one_training_image_a_class_is_enough_where_validation_images_choose() -> None:
    features, labels = clouds(60, 3, seed=9)
    first = np.array([int(np.flatnonzero(labels == label)[0]) for label in range(3)])
    rest = np.setdiff1d(np.arange(60), first)[:12]  # fewer than cross_validate_below
    probe = train_probe(
        features[None, first], labels[first], features[None, rest], labels[rest],
        ProbeSettings(), num_classes=3,
    )  # fmt: skip
    assert probe.chosen_by == "validation"
    assert (probe.logits(features[first]).argmax(axis=1) == labels[first]).all()


def test_rare_classes_weigh_more_when_asked() -> None:
    features, labels = clouds(400, 2, seed=7, spread=4.0)
    keep = (labels == 0) | (np.arange(400) % 20 == 1)
    train, y = features[keep], labels[keep]
    held_out, z = clouds(200, 2, seed=8, spread=4.0)

    def recall_of_rare(weight: str) -> float:
        settings = ProbeSettings.model_validate({"class_weight": weight, "strengths": [0.1]})
        probe = train_probe(train[None], y, held_out[None], z, settings, num_classes=2)
        return float(np.mean(probe.logits(held_out).argmax(axis=1)[z == 1] == 1))

    assert recall_of_rare("balanced") > recall_of_rare("none") + 0.2


def test_many_classes_of_one_image_are_no_regression() -> None:
    """scikit-learn wonders whether class numbers so many are measurements; they are not, and a
    user who reads that can do nothing about it. Any warning is an error in these tests."""
    train, y = clouds(30, 30, seed=1)
    held_out, z = clouds(60, 30, seed=2)
    settings = ProbeSettings(strengths=(0.03, 1.0), cross_validate_below=10)
    probe = train_probe(train[None], y, held_out[None], z, settings, num_classes=30)
    assert probe.weight.shape == (30, 12)
