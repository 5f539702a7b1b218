"""Silent nonsense ends in a sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.errors import TrainingError
from tellapart.training.sentinels import ChanceWatch, FrozenStatistics, check_finite

ONE_CLASS, BOTH = np.array([40, 0]), np.array([25, 15])


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_broken_loss_names_the_learning_rate(loss: float) -> None:
    with pytest.raises(TrainingError, match=r"epoch 4 at a learning rate of 0\.1; set training"):
        check_finite(loss, 4, 0.1)
    check_finite(0.7, 4, 0.1)


def test_three_epochs_at_chance_are_legitimate() -> None:
    # Document 003's augmented network stays at chance for 3 epochs, then learns.
    watch = ChanceWatch(0.5)
    assert [watch.end_epoch(0.693, 0.5, ONE_CLASS) for _ in range(3)] == [""] * 3
    assert watch.end_epoch(0.66, 0.6, BOTH) == ""
    assert watch.epochs == 0


def test_five_epochs_at_chance_are_told_once_and_ten_without_movement_stop() -> None:
    watch = ChanceWatch(0.5)
    notes = [watch.end_epoch(0.6931, 0.51, ONE_CLASS) for _ in range(9)]
    assert [bool(note) for note in notes] == [False] * 4 + [True] + [False] * 4
    assert "All 40 validation images got the same class for 5 epochs" in notes[4]
    with pytest.raises(TrainingError, match=r"stays at 0\.6931: the network does not learn"):
        watch.end_epoch(0.6931, 0.51, ONE_CLASS)


def test_one_class_in_validation_while_training_learns_is_batch_norm_lagging() -> None:
    # Document 004: validation at one class for 3 epochs while training was at 76 %.
    watch = ChanceWatch(0.21)
    notes = [watch.end_epoch(1.0, 0.76, ONE_CLASS) for _ in range(29)]
    assert set(notes) == {""}


def test_a_loss_that_still_falls_is_not_stopped() -> None:
    watch = ChanceWatch(0.5)
    for epoch in range(1, 30):
        watch.end_epoch(0.7 - 0.002 * epoch, 0.5, ONE_CLASS)


def test_frozen_statistics_that_move_are_found_by_name() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    network.train()
    network[1].eval()
    frozen = FrozenStatistics.of(network)
    network(torch.rand(2, 3, 4, 4))
    frozen.check()
    network[1].train()
    network(torch.rand(2, 3, 4, 4))
    with pytest.raises(TrainingError, match="frozen BatchNorm layer '1' moved"):
        frozen.check()
