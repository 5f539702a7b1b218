"""Mixup and CutMix: training images that are two at once, and targets that say so."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tellapart.errors import RecipeError
from tellapart.recipe import TrainingStage
from tellapart.training.batches import Arrays


def mix(
    images: Tensor,
    labels: Tensor,
    stage: TrainingStage,
    num_classes: int,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with another one, by mixup or CutMix as the stage says.

    With both, each batch takes one of them by the toss of a coin. A batch has one share,
    drawn from a beta distribution; in CutMix it is the share of the area.

    Args:
        images: float32 (N, 3, H, W).
        labels: int64 (N,).
        random: every draw comes from it.

    Returns:
        Images of the same shape, and targets float32 (N, C).

    Source: https://arxiv.org/abs/1710.09412, https://arxiv.org/abs/1905.04899.
    """
    cut = bool(stage.cutmix) and (not stage.mixup or random.random() < 0.5)
    alpha = stage.cutmix if cut else stage.mixup
    share = float(random.beta(alpha, alpha))
    order = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if cut:
        images, share = _paste(images, images[order], share, random)
    else:
        images = images.lerp(images[order], 1 - share)
    classes = functional.one_hot(labels, num_classes).float()
    return images, classes.lerp(classes[order], 1 - share)


def require_mixable(train: Arrays, stage: TrainingStage) -> None:
    """Refuse CutMix of what has no height and width.

    Raises:
        RecipeError: the training is on feature vectors.
    """
    # A view's axis comes before the images'.
    if stage.cutmix and train.inputs.ndim - train.has_views < 4:
        raise RecipeError(
            f"training.cutmix={stage.cutmix:g} needs images, but here the backbone stands still "
            "and training is on its features, one vector an image; set training.cutmix=0 "
            "(mixup works on vectors), or let a part of the backbone move."
        )


def _paste(
    images: Tensor, others: Tensor, share: float, random: np.random.Generator
) -> tuple[Tensor, float]:
    """Replace a rectangle of 1 - ``share`` of the area; returns the share that stayed."""
    height, width = images.shape[2:]
    side = np.sqrt(1 - share)
    y, x = int(random.integers(height)), int(random.integers(width))
    top, bottom = _span(y, round(side * height), height)
    left, right = _span(x, round(side * width), width)
    images = images.clone()
    images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return images, 1 - (bottom - top) * (right - left) / (height * width)


def _span(centre: int, length: int, limit: int) -> tuple[int, int]:
    start = centre - length // 2
    return max(start, 0), min(start + length, limit)
