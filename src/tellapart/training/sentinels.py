"""What stops or questions a training whose result would be nonsense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.errors import TrainingError

#: Epochs at chance after which the user is told. A sound small network was seen to need 3.
EPOCHS_UNTIL_NOTE = 5
#: Epochs at chance after which training is stopped: twice as many. By then every plateau rule
#: of the recipes has cut the learning rate, and a network without gradient stays as it is.
EPOCHS_UNTIL_STOP = 10
#: How far above the largest class an accuracy may be and still be chance.
CHANCE_MARGIN = 0.02
#: A training loss that fell by less than this since the first of them has not moved.
STILL_LOSS = 1e-3


def check_finite(loss: float, epoch: int, learning_rate: float, part: str = "training") -> None:
    """Stop where a loss is not a number.

    Raises:
        TrainingError: it is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The {part} loss became {loss} in epoch {epoch} at a learning rate of "
            f"{learning_rate:.3g}; set training.learning_rate to a tenth of it, or "
            "training.gradient_clip=1."
        )


@dataclass
class ChanceWatch:
    """Counts epochs in a row in which the network says one class for everything.

    A validation accuracy at chance can be honest (few or hard images), so three things must
    come together: one predicted class, a training accuracy at chance, and, to stop, a
    training loss that has not moved. BatchNorm's averages lag behind in the first epochs and
    give one class in validation while training is fine, so the training accuracy counts.
    """

    #: Share of the largest class in the training part.
    largest_class: float
    epochs: int = 0
    first_loss: float = math.inf

    def end_epoch(self, loss: float, accuracy: float, predicted_counts: NDArray[np.int64]) -> str:
        """Count an epoch; returns a sentence for the user, or "".

        Raises:
            TrainingError: ten epochs in a row brought nothing at all.
        """
        one_class = np.count_nonzero(predicted_counts) == 1
        if not one_class or accuracy > self.largest_class + CHANCE_MARGIN:
            self.epochs = 0
            return ""
        if not self.epochs:
            self.first_loss = loss
        self.epochs += 1
        what = (
            f"All {predicted_counts.sum()} validation images got the same class for "
            f"{self.epochs} epochs"
        )
        if self.epochs >= EPOCHS_UNTIL_STOP and loss > self.first_loss - STILL_LOSS:
            raise TrainingError(
                f"{what} and the training loss stays at {loss:.4f}: the network does not learn; "
                "look at the labels (tellapart inspect), then try a tenth of "
                "training.learning_rate."
            )
        if self.epochs == EPOCHS_UNTIL_NOTE:
            return (
                f"{what}; if this goes on, look at the labels (tellapart inspect) and at "
                "training.learning_rate."
            )
        return ""


@dataclass
class FrozenStatistics:
    """Sees that BatchNorm layers held in inference mode keep their statistics."""

    kept: Sequence[tuple[str, _BatchNorm, Tensor]] = field(default_factory=tuple)

    @staticmethod
    def of(network: nn.Module) -> FrozenStatistics:
        """Remember the statistics of all BatchNorm layers that are in inference mode now."""
        return FrozenStatistics(
            tuple(
                (name, layer, _statistics(layer))
                for name, layer in network.named_modules()
                if isinstance(layer, _BatchNorm)
                and not layer.training
                and layer.running_mean is not None
            )
        )

    def check(self) -> None:
        """Compare with what is there now.

        Raises:
            TrainingError: a frozen layer's statistics moved.
        """
        for name, layer, before in self.kept:
            if not torch.equal(before, _statistics(layer)):
                raise TrainingError(
                    f"The statistics of the frozen BatchNorm layer '{name}' moved in training; "
                    "set training.trainable.batch_norm=train if they should, or else report "
                    "this as a fault of tellapart."
                )


def _statistics(layer: _BatchNorm) -> Tensor:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        return torch.empty(0)
    return torch.stack([mean, variance])  # a copy
