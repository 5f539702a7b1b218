"""Progressive resizing: small pictures in the first epochs, full size in the last.

A step on small pictures costs less, and what is learned on them carries over: in the same time
a training sees more images. Validation, and everything after the training, has full size.

Source: Tan and Le, EfficientNetV2 (2021), section 4, https://arxiv.org/abs/2104.00298.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tellapart.errors import RecipeError
from tellapart.recipe import ProgressiveResizing, TrainingStage
from tellapart.training.batches import Arrays

#: Sizes between the first and the last are multiples of this: what networks divide by.
STEP_PIXELS = 32


def training_image_size(
    setting: ProgressiveResizing | None, epoch: int, epochs: int, full_size: int
) -> int:
    """Height of the training images of an epoch, in pixels.

    It grows evenly from the setting's ``image_size`` to ``full_size``, which it has in the last
    ``1 - share`` of the epochs.

    Args:
        setting: None: always ``full_size``.
        epoch: from 1.
        epochs: number of epochs of the training.
        full_size: height of the images as they are stored.
    """
    if setting is None or setting.image_size >= full_size:
        return full_size
    done = (epoch - 1) / epochs
    if done >= setting.share:
        return full_size
    grown = setting.image_size + (full_size - setting.image_size) * done / setting.share
    return max(setting.image_size, int(grown) // STEP_PIXELS * STEP_PIXELS)


def shrink(images: Tensor, height: int) -> Tensor:
    """Images (N, 3, H, W) with the given height and their aspect, without aliasing."""
    full_height, full_width = images.shape[2:]
    if height >= full_height:
        return images
    size = (height, max(1, round(full_width * height / full_height)))
    return functional.interpolate(images, size, mode="bilinear", antialias=True)


def require_any_size(network: nn.Module, train: Arrays, stage: TrainingStage) -> None:
    """Refuse progressive resizing where it cannot be.

    Raises:
        RecipeError: the training is on features instead of images, or the network has weights
            for one size of images only.
    """
    setting = stage.progressive_resizing
    if setting is None:
        return
    if not train.are_images:
        raise RecipeError(
            "training.progressive_resizing needs images, but here a part of the network stands "
            "still and training is on its features; leave it out, or set "
            "training.cached_views=0 and training.trainable.backbone=all."
        )
    height, width = train.inputs.shape[1:3]
    small = setting.image_size
    weight = next(network.parameters())
    image = torch.zeros(1, 3, height, width, dtype=weight.dtype, device=weight.device)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(image)  # an error here has nothing to do with the smaller size
        try:
            network(shrink(image, small))
        except (RuntimeError, AssertionError, ValueError) as error:  # timm asserts its sizes
            raise RecipeError(
                f"training.progressive_resizing.image_size={small}: the network cannot take images "
                f"of {small} pixels beside those of {height} (one with a 'flatten' layer or with "
                "position embeddings has weights for one size); leave progressive_resizing out."
            ) from error
    network.train(was_training)
