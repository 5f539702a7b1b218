"""Optimizers against their formulas worked in NumPy, and their parameter groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.errors import RecipeError
from tellapart.recipe import TrainingStage
from tellapart.training.optimizers import build_optimizer
from tellapart.training.parameter_groups import (
    GradualUnfreezing,
    parameter_groups,
    set_learning_rate,
)

GRADIENTS = np.array([[1.0, -2.0, 1e-4], [0.5, 1.0, 2e-4], [-1.0, 3.0, -1e-4]], np.float64)
START = np.array([0.3, -0.2, 0.1])


def moved(stage: TrainingStage) -> np.ndarray:
    """Weights after three steps with given gradients."""
    module = nn.Linear(3, 1, bias=False)
    module.weight.data = torch.tensor(START, dtype=torch.float32)[None]
    optimizer = build_optimizer(module, stage, torch.device("cpu"))
    for gradient in GRADIENTS:
        module.weight.grad = torch.tensor(gradient, dtype=torch.float32)[None]
        optimizer.step()
    return module.weight.detach().numpy()[0]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_is_keras(momentum: float) -> None:
    weight, velocity, moment = START.copy(), np.zeros(3), np.zeros(3)
    for g in GRADIENTS:
        velocity = 0.9 * velocity + 0.1 * g**2
        moment = momentum * moment + 0.01 * g / np.sqrt(velocity + 1e-7)
        weight -= moment
    stage = TrainingStage(optimizer="rmsprop", learning_rate=0.01, momentum=momentum)
    assert moved(stage) == pytest.approx(weight, abs=1e-6)


def test_adam_has_keras_epsilon() -> None:
    def by_hand(epsilon: float) -> np.ndarray:
        weight, m, v = START.copy(), np.zeros(3), np.zeros(3)
        for t, g in enumerate(GRADIENTS, start=1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            weight -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + epsilon)
        return weight

    assert moved(TrainingStage(optimizer="adam", learning_rate=0.01)) == pytest.approx(
        by_hand(1e-7), abs=1e-7
    )
    large = TrainingStage(optimizer="adam", learning_rate=0.01, epsilon=1e-2)
    assert moved(large) == pytest.approx(by_hand(1e-2), abs=1e-7)
    assert abs(moved(large) - by_hand(1e-7)).max() > 1e-3


def test_nesterov_sgd_is_the_formula() -> None:
    weight, velocity = START.copy(), np.zeros(3)
    for g in GRADIENTS:  # Keras: v = m v - lr g; w = w + m v - lr g
        velocity = 0.9 * velocity - 0.01 * g
        weight += 0.9 * velocity - 0.01 * g
    stage = TrainingStage(optimizer="sgd", learning_rate=0.01, momentum=0.9, nesterov=True)
    assert moved(stage) == pytest.approx(weight, abs=1e-6)


class TwoStages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 3)
        )
        self.head = nn.Linear(4, 2)


def factor_of(groups: list[dict], weight: torch.Tensor) -> float:
    return next(g["factor"] for g in groups if any(w is weight for w in g["params"]))


def test_earlier_stages_learn_more_slowly() -> None:
    network = TwoStages()
    stage = TrainingStage(backbone_learning_rate_factor=0.1, layer_decay=0.5, optimizer="sgd")
    groups = parameter_groups(network, stage)
    assert factor_of(groups, network.head.weight) == 1.0
    assert factor_of(groups, network.backbone[1].weight) == pytest.approx(0.1)
    assert factor_of(groups, network.backbone[0][0].weight) == pytest.approx(0.05)
    assert factor_of(groups, network.backbone[0][1].weight) == pytest.approx(0.05)
    optimizer = build_optimizer(network, stage, torch.device("cpu"))
    set_learning_rate(optimizer, 0.2)
    assert sorted({round(g["lr"], 6) for g in optimizer.param_groups}) == [0.01, 0.02, 0.2]


def test_only_what_moves_is_in_a_group_and_biases_do_not_decay() -> None:
    network = TwoStages()
    network.backbone.requires_grad_(False)
    groups = parameter_groups(network, TrainingStage(weight_decay=0.1))
    in_groups = [w for g in groups for w in g["params"]]
    assert len(in_groups) == 2
    decay = {w.ndim: g["weight_decay"] for g in groups for w in g["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_stages_are_unfrozen_from_the_output_down() -> None:
    network = TwoStages()
    network.backbone[0][1].requires_grad_(False)  # frozen for good
    unfreezing = GradualUnfreezing(network, 2)
    seen = []
    for epoch in range(1, 7):
        unfreezing.start_epoch(epoch)
        parts = (network.backbone[0][0], network.backbone[0][1], network.backbone[1], network.head)
        seen.append([next(part.parameters()).requires_grad for part in parts])
    assert seen[:2] == [[False, False, False, True]] * 2
    assert seen[2:4] == [[False, False, True, True]] * 2
    assert seen[4:] == [[True, False, True, True]] * 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimizer": "adam", "nesterov": True}, "nesterov goes with optimizer: sgd"),
        ({"optimizer": "sgd", "nesterov": True}, "a momentum above 0"),
        ({"optimizer": "adamw", "momentum": 0.9}, "momentum=0.9 goes with sgd or rmsprop"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        build_optimizer(nn.Linear(2, 2), TrainingStage(**settings), torch.device("cpu"))
