"""Which weights an optimizer moves, and each group's share of the learning rate."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tellapart.models.freezing import backbone_stages
from tellapart.recipe import TrainingStage


def parameter_groups(network: nn.Module, stage: TrainingStage) -> list[dict[str, Any]]:
    """Weights that move at some time, grouped by learning-rate factor and weight decay.

    The head has factor 1; the last stage of the backbone ``backbone_learning_rate_factor``,
    and each stage before it ``layer_decay`` times the next one's.
    """
    factors = _learning_rate_factors(network, stage)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for weight in network.parameters():
        if not weight.requires_grad:
            continue
        factor = factors.get(weight, 1.0)
        decay = stage.weight_decay if weight.ndim > 1 else 0.0
        group = groups.setdefault(
            (factor, decay), {"params": [], "factor": factor, "weight_decay": decay}
        )
        group["params"].append(weight)
    return list(groups.values())


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give each group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _learning_rate_factors(network: nn.Module, stage: TrainingStage) -> dict[Tensor, float]:
    backbone = getattr(network, "backbone", None)
    if backbone is None:
        return {}
    if stage.layer_decay == 1.0:
        return {weight: stage.backbone_learning_rate_factor for weight in backbone.parameters()}
    factors: dict[Tensor, float] = {}
    for depth, (_, modules) in enumerate(reversed(backbone_stages(backbone))):
        factor = stage.backbone_learning_rate_factor * stage.layer_decay**depth
        for module in modules:
            for weight in module.parameters(recurse=False):
                factors[weight] = factor
    return factors


class GradualUnfreezing:
    """Opens the stages of a backbone one by one, from the output down.

    In the first ``epochs_per_stage`` epochs the head moves alone. Only weights that the
    recipe lets move are ever opened.

    Source: Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146.
    """

    def __init__(self, network: nn.Module, epochs_per_stage: int) -> None:
        self._every = epochs_per_stage
        self._stages: list[list[Tensor]] = []
        backbone = getattr(network, "backbone", None)
        if epochs_per_stage and backbone is not None:
            self._stages = [
                [w for m in modules for w in m.parameters(recurse=False) if w.requires_grad]
                for _, modules in reversed(backbone_stages(backbone))
            ]

    def start_epoch(self, epoch: int) -> None:
        """Set what moves in an epoch, counted from 1."""
        for depth, weights in enumerate(self._stages):
            for weight in weights:
                weight.requires_grad_(depth < (epoch - 1) // self._every)
