"""BatchNorm's averages are right after one epoch, however few steps it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.recipe import TrainingStage
from tellapart.training.batch_norm import quicken_batch_norm
from tellapart.training.fit import Arrays, fit


def left_after_an_epoch(steps: int, momentum: float = 0.01) -> float:
    """How much of the first average is left, by PyTorch's own updates."""
    layer = nn.BatchNorm2d(1, momentum=momentum)
    nn.init.constant_(layer.running_mean, 1.0)
    quicken_batch_norm(nn.Sequential(layer), steps)
    for _ in range(steps):
        layer(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
    return float(layer.running_mean)


@pytest.mark.parametrize("steps", [21, 45, 200])
def test_little_is_left_of_the_made_up_averages(steps: int) -> None:
    assert left_after_an_epoch(steps) == pytest.approx(0.01, abs=0.001)


def test_momentum_is_never_lowered_and_never_large() -> None:
    assert left_after_an_epoch(1000) == pytest.approx(0.99**1000, abs=1e-5)
    assert left_after_an_epoch(30, momentum=0.5) < 1e-8
    assert left_after_an_epoch(2) == pytest.approx(0.8**2)
    layer = nn.BatchNorm1d(3, momentum=None)  # a plain mean of all batches
    quicken_batch_norm(layer, 5)
    assert layer.momentum is None


def test_validation_of_the_first_epoch_is_not_at_chance() -> None:
    """Document 004's residual network: 76 % on train and one class for all of validation."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 2
    inputs = (30 + 5 * labels + random.normal(0, 1, 400)).astype(np.float32)[:, None]
    data = Arrays(np.repeat(inputs, 4, axis=1), labels)
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(4, momentum=0.01), nn.Linear(4, 2))
    stage = TrainingStage(epochs=1, batch_size=16, optimizer="sgd", learning_rate=0.5)
    row = fit(network, data, data, stage, num_classes=2, device="cpu").history[0]
    assert row["accuracy"] > 0.9
    assert row["validation_accuracy"] > 0.95
