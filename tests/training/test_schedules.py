"""Learning rate and patience against PyTorch's schedulers and Keras' callbacks by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tellapart.recipe import EarlyStopping, ReduceOnPlateau, TrainingStage
from tellapart.training.schedules import Patience, Plateau, schedule_factor


def test_one_cycle_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=50, pct_start=0.3, cycle_momentum=False
    )
    stage = TrainingStage(schedule="one_cycle", warmup=0.3)
    for step in range(50):
        assert schedule_factor(stage, step, 50) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        if step < 49:
            reference.step()


def test_cosine_rises_in_a_line_and_falls_to_zero() -> None:
    stage = TrainingStage(schedule="cosine", warmup=0.1)
    factors = [schedule_factor(stage, step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for step in range(10, 100):
        assert factors[step] == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        reference.step()


def test_without_warmup_both_start_at_the_top() -> None:
    assert schedule_factor(TrainingStage(schedule="cosine"), 0, 10) == 1.0
    assert schedule_factor(TrainingStage(schedule="one_cycle"), 0, 10) == pytest.approx(1.0)
    assert schedule_factor(TrainingStage(), 7, 10) == 1.0


def test_an_improvement_below_min_delta_does_not_help_the_plateau_rule() -> None:
    # Document 000: 0.45107 -> 0.45100 is a new best checkpoint, and yet the rate is cut.
    plateau = Plateau(ReduceOnPlateau(factor=0.1, patience=3), 0.01)
    cuts = [plateau.end_epoch(loss) for loss in (0.45107, 0.46, 0.455, 0.45100)]
    assert cuts == [False, False, False, True]
    assert plateau.scale == pytest.approx(0.1)
    assert not plateau.end_epoch(0.44)
    assert plateau.wait == 0


def test_the_rate_never_falls_below_its_minimum() -> None:
    settings = ReduceOnPlateau(factor=0.1, patience=1, minimum_learning_rate=2e-4)
    plateau = Plateau(settings, 0.01)
    cuts = [plateau.end_epoch(1.0) for _ in range(5)]
    assert cuts == [False, True, True, False, False]
    assert plateau.scale * 0.01 == pytest.approx(2e-4)


def test_document_001_is_cut_and_stopped_at_the_printed_epochs() -> None:
    """Best at 11 and stop at 17 with patience 6; cuts after 14 and 17 with patience 3."""
    losses = [2.0 - 0.1 * n for n in range(1, 12)] + [1.0] * 6
    plateau = Plateau(ReduceOnPlateau(factor=0.1, patience=3), 0.01)
    patience = Patience(EarlyStopping(patience=6))
    cuts, stops = [], []
    for epoch, loss in enumerate(losses, start=1):
        if plateau.end_epoch(loss):
            cuts.append(epoch)
        if patience.end_epoch(loss):
            stops.append(epoch)
    assert cuts == [14, 17] and stops == [17]


def test_without_settings_nothing_happens() -> None:
    assert not Plateau(None, 0.1).end_epoch(math.inf)
    assert not Patience(None).end_epoch(math.inf)
