"""What training minimises: cross-entropy of classes, smoothed, mixed and weighted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tellapart.recipe import TrainingStage


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each image, in nats.

    Args:
        logits: (N, C), or (N, 1): one logit for the second of two classes.
        targets: int64 (N,), or float (N, C), shares of the classes.
        label_smoothing: share of each target that is spread evenly over all classes.

    Returns:
        float32 (N,).
    """
    logits = logits.float()
    if logits.shape[1] > 1:
        return functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=label_smoothing
        )
    second = targets.float() if targets.ndim == 1 else targets[:, 1]
    second = second * (1 - label_smoothing) + label_smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits[:, 0], second, reduction="none")


def predicted_classes(logits: Tensor) -> Tensor:
    """int64 (N,): the class of the largest probability."""
    return logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()


def balanced_weights(labels: NDArray[np.int64], num_classes: int) -> Tensor:
    """float32 (C,): N / (C * images of the class), as scikit-learn's "balanced".

    A class without images has weight 0.
    """
    counts = np.bincount(labels, minlength=num_classes).astype(np.float64)
    present = np.count_nonzero(counts)
    weights = np.divide(len(labels), present * counts, where=counts > 0, out=np.zeros_like(counts))
    return torch.from_numpy(weights).float()


class Objective:
    """The training loss of a stage, averaged over a batch.

    Class weights multiply each image's loss and the mean is over images, as in Keras.
    """

    def __init__(self, stage: TrainingStage, class_weights: Tensor | None) -> None:
        self._smoothing = stage.label_smoothing
        self._weights = class_weights

    @classmethod
    def of(
        cls,
        stage: TrainingStage,
        labels: NDArray[np.int64],
        num_classes: int,
        device: torch.device,
    ) -> Objective:
        """What a stage asks for, given the labels of its training images."""
        if stage.class_weight == "none":
            return cls(stage, None)
        return cls(stage, balanced_weights(labels, num_classes).to(device))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch, a scalar."""
        losses = cross_entropy(logits, targets, self._smoothing)
        if self._weights is not None:
            weights = self._weights[targets] if targets.ndim == 1 else targets @ self._weights
            losses = losses * weights
        return losses.mean()
