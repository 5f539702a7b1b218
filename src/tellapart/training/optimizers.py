"""Optimizers and their parameter groups, with Keras' semantics where the two differ.

- epsilon is 1e-7 unless the recipe says otherwise (PyTorch: 1e-8);
- RMSprop decays by 0.9 (PyTorch: 0.99) and adds epsilon under the root (PyTorch: after it),
  which bounds the step of a weight with small gradients 3000 times more tightly;
- Adam's epsilon is Keras' up to the bias correction, at most a factor of 32 on 1e-7 in the
  first steps;
- momentum of SGD keeps the learning rate outside the velocity, as PyTorch does; Keras keeps
  it inside, which differs for the few steps after the rate changes;
- an L2 penalty is part of the loss, not of the optimizer, so it means the same in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tellapart.errors import RecipeError
from tellapart.recipe import Stage

KERAS_EPSILON = 1e-7
KERAS_RMSPROP_DECAY = 0.9


class RMSprop(Optimizer):
    """RMSprop as Keras 2.11 and later define it.

    ``v = rho v + (1 - rho) g^2;  m = momentum m + lr g / sqrt(v + epsilon);  w = w - m``

    Source: keras/src/optimizers/rmsprop.py.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        rho: float = KERAS_RMSPROP_DECAY,
        momentum: float = 0.0,
        eps: float = KERAS_EPSILON,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps}
        super().__init__(params, {**defaults, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        if closure is not None:
            raise NotImplementedError("RMSprop takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight)
            if group["momentum"]:
                state["momentum"] = torch.zeros_like(weight)
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        velocity = state["velocity"]
        velocity.mul_(group["rho"]).addcmul_(gradient, gradient, value=1 - group["rho"])
        root = velocity.add(group["eps"]).sqrt_()
        if group["momentum"]:
            step = state["momentum"].mul_(group["momentum"])
            weight.sub_(step.addcdiv_(gradient, root, value=group["lr"]))
        else:
            weight.addcdiv_(gradient, root, value=-group["lr"])


def build_optimizer(network: nn.Module, stage: Stage, device: torch.device) -> Optimizer:
    """Make the optimizer of a stage.

    Each group carries ``factor``, its share of the learning rate of the moment. Weight
    decay spares biases and the scale and shift of normalisation layers.

    Raises:
        RecipeError: a setting does not go with the optimizer.
    """
    if stage.nesterov and (stage.optimizer != "sgd" or not stage.momentum):
        raise RecipeError(
            "training.nesterov goes with optimizer: sgd and a momentum above 0; "
            f"here optimizer={stage.optimizer}, momentum={stage.momentum:g}."
        )
    if stage.momentum and stage.optimizer in {"adam", "adamw"}:
        raise RecipeError(
            f"training.momentum={stage.momentum:g} goes with sgd or rmsprop; {stage.optimizer} "
            "has its own, so leave it out."
        )
    groups = parameter_groups(network, stage)
    # One fused kernel for all weights; measured 5 % of a step of the smallest network.
    fused = device.type in {"cpu", "cuda"}
    epsilon = KERAS_EPSILON if stage.epsilon is None else stage.epsilon
    rate = stage.learning_rate
    if stage.optimizer == "sgd":
        # The fused kernel cannot take weights with and without a momentum yet in one step.
        fused = fused and not stage.gradual_unfreezing
        return torch.optim.SGD(
            groups, lr=rate, momentum=stage.momentum, nesterov=stage.nesterov, fused=fused
        )
    if stage.optimizer == "rmsprop":
        return RMSprop(groups, lr=rate, momentum=stage.momentum, eps=epsilon)
    if stage.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, eps=epsilon, fused=fused)
    return torch.optim.AdamW(groups, lr=rate, eps=epsilon, fused=fused)


def parameter_groups(network: nn.Module, stage: Stage) -> list[dict[str, Any]]:
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


def _learning_rate_factors(network: nn.Module, stage: Stage) -> dict[Tensor, float]:
    backbone = getattr(network, "backbone", None)
    if backbone is None:
        return {}
    if stage.layer_decay == 1.0:
        return {weight: stage.backbone_learning_rate_factor for weight in backbone.parameters()}
    from tellapart.models.freezing import stages

    factors: dict[Tensor, float] = {}
    for depth, (_, modules) in enumerate(reversed(stages(backbone))):
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
            from tellapart.models.freezing import stages

            self._stages = [
                [w for m in modules for w in m.parameters(recurse=False) if w.requires_grad]
                for _, modules in reversed(stages(backbone))
            ]

    def start_epoch(self, epoch: int) -> None:
        """Set what moves in an epoch, counted from 1."""
        for depth, weights in enumerate(self._stages):
            for weight in weights:
                weight.requires_grad_(depth < (epoch - 1) // self._every)
