"""Optimizers: a table, with Keras' semantics where they differ from PyTorch's.

- epsilon is 1e-7 unless the recipe says otherwise (PyTorch: 1e-8);
- RMSprop is Keras' own (``training.rmsprop``);
- Adam's epsilon is Keras' up to the bias correction, at most a factor of 32 on 1e-7 in the
  first steps;
- momentum of SGD keeps the learning rate outside the velocity, as PyTorch does; Keras keeps
  it inside, which differs for the few steps after the rate changes;
- an L2 penalty is part of the loss, not of the optimizer, so it means the same in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tellapart.errors import RecipeError
from tellapart.recipe import TrainingStage

if TYPE_CHECKING:  # the table is read where PyTorch is not needed
    import torch
    from torch import nn
    from torch.optim import Optimizer

KERAS_EPSILON = 1e-7
#: Groups of weights as ``torch.optim`` takes them.
Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer that a recipe can name."""

    name: str
    #: Groups, the stage's settings, and whether fused kernels may be used.
    build: Callable[[Groups, TrainingStage, bool], Optimizer]
    takes_momentum: bool = False
    takes_nesterov: bool = False
    #: Whether it divides by something that ``epsilon`` is added to.
    takes_epsilon: bool = True


def _epsilon(stage: TrainingStage) -> float:
    return KERAS_EPSILON if stage.epsilon is None else stage.epsilon


def _sgd(groups: Groups, stage: TrainingStage, fused: bool) -> Optimizer:
    from torch.optim import SGD

    return SGD(
        groups,
        lr=stage.learning_rate,
        momentum=stage.momentum,
        nesterov=stage.nesterov,
        # The fused kernel cannot take weights with and without a momentum yet in one step.
        fused=fused and not stage.gradual_unfreezing,
    )


def _rmsprop(groups: Groups, stage: TrainingStage, fused: bool) -> Optimizer:
    from tellapart.training.rmsprop import RMSprop

    return RMSprop(groups, lr=stage.learning_rate, momentum=stage.momentum, eps=_epsilon(stage))


def _adam(groups: Groups, stage: TrainingStage, fused: bool) -> Optimizer:
    from torch.optim import Adam

    return Adam(groups, lr=stage.learning_rate, eps=_epsilon(stage), fused=fused)


def _adamw(groups: Groups, stage: TrainingStage, fused: bool) -> Optimizer:
    from torch.optim import AdamW

    return AdamW(groups, lr=stage.learning_rate, eps=_epsilon(stage), fused=fused)


#: A new one is a function above, a row here, and its name in ``recipe.TrainingStage``.
OPTIMIZERS: Mapping[str, OptimizerRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            OptimizerRow(
                "sgd", _sgd, takes_momentum=True, takes_nesterov=True, takes_epsilon=False
            ),
            OptimizerRow("rmsprop", _rmsprop, takes_momentum=True),
            OptimizerRow("adam", _adam),
            OptimizerRow("adamw", _adamw),
        )
    }
)


def check_optimizer(stage: TrainingStage, section: str = "training") -> None:
    """Refuse settings that do not go with the stage's optimizer.

    Raises:
        RecipeError: momentum where the optimizer has its own, or nesterov without momentum.
    """
    row = OPTIMIZERS[stage.optimizer]
    if stage.nesterov and not (row.takes_nesterov and stage.momentum):
        raise RecipeError(
            f"{section}.nesterov goes with optimizer: {_names('takes_nesterov')} and a momentum "
            f"above 0; here optimizer={stage.optimizer}, momentum={stage.momentum:g}."
        )
    if stage.momentum and not row.takes_momentum:
        raise RecipeError(
            f"{section}.momentum={stage.momentum:g} goes with {_names('takes_momentum')}; "
            f"{stage.optimizer} has its own, so leave it out."
        )


def build_optimizer(network: nn.Module, stage: TrainingStage, device: torch.device) -> Optimizer:
    """Make the optimizer of a stage.

    Each group carries ``factor``, its share of the learning rate of the moment. Weight
    decay spares biases and the scale and shift of normalisation layers.

    Raises:
        RecipeError: a setting does not go with the optimizer.
    """
    from tellapart.training.parameter_groups import parameter_groups

    check_optimizer(stage)
    # One fused kernel for all weights; measured 5 % of a step of the smallest network.
    fused = device.type in {"cpu", "cuda"}
    return OPTIMIZERS[stage.optimizer].build(parameter_groups(network, stage), stage, fused)


def _names(what: str) -> str:
    """The optimizers that take something, for a sentence."""
    return " or ".join(row.name for row in OPTIMIZERS.values() if getattr(row, what))
