"""RMSprop as Keras defines it, which is not as PyTorch does.

It decays by 0.9 (PyTorch: 0.99) and adds epsilon under the root (PyTorch: after it), which
bounds the step of a weight with small gradients 3000 times more tightly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

KERAS_RMSPROP_DECAY = 0.9


class RMSprop(Optimizer):
    """RMSprop as Keras 2.11 and later define it.

    ``v = rho v + (1 - rho) g^2;  m = momentum m + lr g / sqrt(v + epsilon);  w = w - m``

    Source: keras/src/optimizers/rmsprop.py.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        eps: float,
        rho: float = KERAS_RMSPROP_DECAY,
        momentum: float = 0.0,
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
