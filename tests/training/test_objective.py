"""Losses, class weights, mixing and the weight average, against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from tellapart.recipe import TrainingStage
from tellapart.training.averaging import WeightAverage
from tellapart.training.mixing import mix
from tellapart.training.objective import (
    Objective,
    balanced_weights,
    cross_entropy,
    predicted_classes,
)

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]])
LABELS = torch.tensor([0, 2])


def log_softmax(logits: torch.Tensor) -> np.ndarray:
    exponents = np.exp(logits.double().numpy())
    return np.log(exponents / exponents.sum(1, keepdims=True))


def test_smoothed_cross_entropy_spreads_the_share_over_all_classes() -> None:
    targets = np.full((2, 3), 0.1 / 3)
    targets[[0, 1], [0, 2]] += 0.9
    expected = -(targets * log_softmax(LOGITS)).sum(1)
    assert cross_entropy(LOGITS, LABELS, 0.1).numpy() == pytest.approx(expected, rel=1e-5)
    one_hot = torch.eye(3)[LABELS]
    assert cross_entropy(LOGITS, one_hot, 0.1).numpy() == pytest.approx(expected, rel=1e-5)


def test_one_logit_is_two_classes_whose_other_logit_is_zero() -> None:
    one = torch.tensor([[1.3], [-0.4], [2.0]])
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    labels = torch.tensor([1, 1, 0])
    for targets in (labels, torch.tensor([[0.3, 0.7], [1.0, 0.0], [0.5, 0.5]])):
        for smoothing in (0.0, 0.2):
            a, b = (cross_entropy(x, targets, smoothing) for x in (one, two))
            assert torch.allclose(a, b, atol=1e-6)
    assert predicted_classes(one).tolist() == predicted_classes(two).tolist() == [1, 0, 1]


def test_balanced_class_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(labels, 3).numpy() == pytest.approx(expected)
    assert balanced_weights(labels, 4).numpy() == pytest.approx([*expected, 0])


def test_class_weights_multiply_each_image_and_the_mean_is_over_images() -> None:
    weights = torch.tensor([2.0, 1.0, 0.5])
    losses = -log_softmax(LOGITS)[[0, 1], [0, 2]]
    expected = (2 * losses[0] + 0.5 * losses[1]) / 2
    objective = Objective(TrainingStage(), weights)
    assert float(objective(LOGITS, LABELS)) == pytest.approx(expected, rel=1e-5)
    assert float(objective(LOGITS, torch.eye(3)[LABELS])) == pytest.approx(expected, rel=1e-5)


def test_mixup_mixes_pixels_and_targets_by_one_share() -> None:
    # Image i is i everywhere, so a mixed pixel tells who was mixed, and in which share.
    images = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 4, 4)
    labels = torch.arange(8)
    mixed, targets = mix(images, labels, TrainingStage(mixup=1.0), 8, np.random.default_rng(0))
    assert torch.allclose(targets.sum(1), torch.ones(8))
    assert torch.allclose(mixed[:, 0, 0, 0], targets @ torch.arange(8.0), atol=1e-5)
    assert torch.allclose(mixed, mixed[:, :1, :1, :1].expand_as(mixed))
    assert not torch.equal(mixed, images)


def test_cutmix_pastes_one_rectangle_and_shares_by_its_area() -> None:
    images = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 12, 16).clone()
    kept = images.clone()
    labels = torch.arange(8)
    sizes = set()
    for seed in range(20):
        random = np.random.default_rng(seed)
        mixed, targets = mix(images, labels, TrainingStage(cutmix=1.0), 8, random)
        for i, picture in enumerate(mixed):
            own = (picture == i).float().mean()
            assert float(targets[i, i]) == pytest.approx(float(own), abs=1e-5)
            assert len(picture.unique()) <= 2
        sizes.add(round(float(own), 3))
    assert len(sizes) > 10
    assert torch.equal(images, kept)


def test_mixup_and_cutmix_together_take_turns() -> None:
    images = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 12, 12)
    both = TrainingStage(mixup=1.0, cutmix=1.0)
    whole = [
        torch.equal(m, m[:, :, :1, :1].expand_as(m))
        for m in (
            mix(images, torch.arange(8), both, 8, np.random.default_rng(s))[0] for s in range(40)
        )
    ]
    assert 10 < sum(whole) < 32


def test_the_average_forgets_at_its_decay_and_covers_batch_norm() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    weight, norm = network[0].weight, network[1]
    weight.data.fill_(0.0)
    average = WeightAverage(network, 0.25)
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 4.0, 8.0), start=1):
        weight.data.fill_(value)
        norm.running_mean.fill_(value)
        average.update()
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.in_place():
        assert weight.item() == pytest.approx(expected)
        assert float(norm.running_mean) == pytest.approx(expected)
    assert weight.item() == 8.0 and float(norm.running_mean) == 8.0
