"""From a recipe's model to one module: normalise, backbone, head.

Images go in as they are stored, 0..255, so no caller can forget or repeat the
normalisation, whose numbers come from the run's ``Preprocessing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from tellapart.errors import RecipeError
from tellapart.models.head import Head, build_head
from tellapart.models.scratch import build_scratch
from tellapart.recipe import BackboneModel, ScratchModel

if TYPE_CHECKING:
    from tellapart.pixels.preprocessing import Preprocessing

Output = Literal["softmax", "sigmoid"]


class Normalise(nn.Module):
    """(pixels / 255 - mean) / std, a channel at a time.

    The constants are not part of the saved weights: the run's ``Preprocessing`` is
    the one place they come from.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float images (N, 3, H, W), RGB, 0..255, to normalised ones of the same shape."""
        return (images / 255 - self.mean) / self.std


class Network(nn.Module):
    """Float images (N, 3, H, W), RGB, 0..255, to logits: (N, C), or (N, 1) for sigmoid.

    With output "sigmoid" the one logit speaks for the second of two classes.
    """

    def __init__(
        self, normalise: Normalise, backbone: nn.Module, head: Head, output: Output
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.head = head
        self.output: Output = output

    def forward(self, images: Tensor) -> Tensor:
        """Images in 0..255 to logits."""
        logits: Tensor = self.head(self.backbone(self.normalise(images)))
        return logits


def build_network(
    model: ScratchModel | BackboneModel,
    num_classes: int,
    preprocessing: Preprocessing,
    *,
    random_weights: bool = False,
) -> Network:
    """Make the network a recipe describes, for images of ``preprocessing``'s size.

    New weights are drawn from PyTorch's global random state, which the caller seeds.

    Args:
        model: the recipe's ``model``.
        num_classes: number of classes; "sigmoid" takes exactly two.
        preprocessing: height, width, mean and std of the images.
        random_weights: do not look for pretrained weights (to count, or to load a run's own).

    Raises:
        RecipeError: unknown network or option, an image too small for it, or a sigmoid
            output for more than two classes.
        WeightsError: pretrained weights are missing, damaged or of another network.
    """
    if model.output == "sigmoid" and num_classes != 2:
        raise RecipeError(
            f"model.output=sigmoid is for two classes, but the images have {num_classes}; "
            "set model.output=softmax."
        )
    num_outputs = 1 if model.output == "sigmoid" else num_classes
    size = (preprocessing.height, preprocessing.width)
    if isinstance(model, ScratchModel):
        backbone, head = build_scratch(
            model.network, num_outputs=num_outputs, image_size=size, options=model.options
        )
    else:
        from tellapart.models.backbone import build_backbone, feature_shape

        weights = "none" if random_weights else model.weights
        backbone = build_backbone(model.backbone, weights, features=model.features)
        backbone.set_image_size(*size)
        shape = feature_shape(backbone, *size)
        head = build_head(model.head, shape, num_outputs, model.output_l2)
    normalise = Normalise(preprocessing.mean, preprocessing.std)
    return Network(normalise, backbone, head, model.output)


def probabilities(network: Network, logits: Tensor) -> Tensor:
    """Logits of ``network`` to probabilities (N, C) whose rows sum to 1, in float32."""
    logits = logits.float()
    if network.output == "sigmoid":
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)
    return torch.softmax(logits, dim=1)


def features(network: Network, images: Tensor) -> Tensor:
    """Images in 0..255 to the vector (N, D) that the output layer sees."""
    vectors: Tensor = network.head.hidden(network.backbone(network.normalise(images)))
    return vectors


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Total and trainable number of parameters, as Keras' ``summary`` counts them.

    BatchNorm's moving mean and variance are in the total, and never trainable;
    normalisation constants are in neither.
    """
    weights = list(module.parameters())
    statistics = sum(
        layer.running_mean.numel() + layer.running_var.numel()
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
        and layer.running_mean is not None
        and layer.running_var is not None
    )
    total = sum(weight.numel() for weight in weights) + statistics
    return total, sum(weight.numel() for weight in weights if weight.requires_grad)


def l2_penalty(module: nn.Module) -> Tensor:
    """What Keras' ``regularizers.l2`` adds to the loss: the sum of l2 * sum(kernel ** 2).

    Biases and normalisation layers carry no penalty. A scalar; 0 where no layer has one.
    """
    penalty = next(module.parameters()).new_zeros(())
    for layer in module.modules():
        l2 = getattr(layer, "l2", None)
        if isinstance(layer, nn.Linear | nn.Conv2d) and isinstance(l2, float) and l2 > 0:
            penalty = penalty + l2 * layer.weight.square().sum()
    return penalty
