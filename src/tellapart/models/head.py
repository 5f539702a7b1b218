"""The layers above a backbone: from a feature map or vector to one number a class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tellapart.errors import RecipeError
from tellapart.models.feature_heads import SHARPNESS, SPARE_VOTES, NeighboursHead
from tellapart.recipe import HeadLayer

#: Keras' BatchNormalization(momentum=0.99, epsilon=1e-3), in PyTorch's terms.
BATCH_NORM_MOMENTUM = 0.01
BATCH_NORM_EPSILON = 1e-3


class Head(nn.Module):
    """Hidden layers, then one linear output layer.

    ``hidden`` maps features (N, ...) to a vector (N, D): what nearest neighbours and
    embedding maps look at. ``output`` maps it to logits (N, ``num_outputs``).
    """

    def __init__(self, hidden: nn.Sequential, output: nn.Linear | Neighbours) -> None:
        super().__init__()
        self.hidden = hidden
        self.output = output

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, ...), as the backbone gives them, to logits (N, num_outputs)."""
        logits: Tensor = self.output(self.hidden(features))
        return logits


class Neighbours(nn.Module):
    """The output layer of :class:`~tellapart.models.feature_heads.NeighboursHead` as a module.

    What it says is nothing that gradient descent moves, but gradients flow through it to the
    features, as Grad-CAM needs.
    """

    references: Tensor
    votes: Tensor
    mean: Tensor
    count: Tensor

    def __init__(self, head: NeighboursHead) -> None:
        super().__init__()
        prefix = "head.output."
        for name, value in head.state().items():
            self.register_buffer(name.removeprefix(prefix), torch.tensor(value))
        self._number = int(self.count)  # a number of Python's: a graph cannot read it off a tensor

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to logits (N, C)."""
        near = functional.normalize(features - self.mean) @ self.references.T
        cosines, order = near.topk(self._number, dim=1)
        cast = ((cosines - cosines[:, :1]) / SHARPNESS).exp()
        sums = (cast[..., None] * self.votes[order]).sum(1) + SPARE_VOTES / self.votes.shape[1]
        return (sums / sums.sum(1, keepdim=True)).log()


def build_head(
    layers: Sequence[HeadLayer],
    feature_shape: tuple[int, ...],
    num_outputs: int,
    output_l2: float = 0.0,
) -> Head:
    """Make the head that a recipe describes, with Keras' initialisation.

    Args:
        layers: hidden layers, input to output; may be empty.
        feature_shape: what the backbone gives for one image: (D,) or (channels, height, width).
        num_outputs: size of the output layer, which is added here.
        output_l2: L2 on the kernel of the output layer.

    Raises:
        RecipeError: a layer cannot follow the one before it.
    """
    hidden: list[nn.Module] = []
    shape = feature_shape
    for position, layer in enumerate(layers):
        module, shape = _build_layer(layer, shape, f"model.head.{position}")
        hidden += module
    if len(shape) != 1:
        raise RecipeError(
            f"model.head: the output layer needs a vector an image, but gets a map of shape "
            f"{shape}; add a 'global_pool' or 'flatten' layer."
        )
    return Head(nn.Sequential(*hidden), dense(shape[0], num_outputs, output_l2))


def dense(num_inputs: int, num_outputs: int, l2: float = 0.0) -> nn.Linear:
    """A linear layer initialised as Keras' Dense; its L2 factor is ``layer.l2``."""
    layer = nn.Linear(num_inputs, num_outputs)
    initialise(layer)
    layer.l2 = l2  # type: ignore[assignment]  # read by network.l2_penalty
    return layer


def initialise(layer: nn.Linear | nn.Conv2d) -> None:
    """Glorot-uniform kernel and zero bias, Keras' defaults for Dense and Conv2D."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _build_layer(
    layer: HeadLayer, shape: tuple[int, ...], key: str
) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The modules of one layer, and the shape of what it gives for one image."""
    is_map = len(shape) == 3
    if layer.layer == "flatten":
        return [nn.Flatten()], (math.prod(shape),)
    if layer.layer == "dropout":
        return [nn.Dropout(layer.rate or 0.0)], shape
    if layer.layer == "batch_norm":
        make = nn.BatchNorm2d if is_map else nn.BatchNorm1d
        norm = make(shape[0], eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
        return [norm], shape
    if layer.layer == "global_pool":
        if not is_map:
            raise RecipeError(
                f"{key}: 'global_pool' needs a map of features but gets a vector of {shape[0]}; "
                "leave it out, or set model.features to map."
            )
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten()], shape[:1]
    if is_map:
        raise RecipeError(
            f"{key}: 'dense' needs a vector an image but gets a map of shape {shape}; put "
            "'global_pool' or 'flatten' before it."
        )
    units = layer.units or 1  # a recipe without units is refused before it comes here
    modules: list[nn.Module] = [dense(shape[0], units, layer.l2)]
    if layer.activation == "relu":
        modules.append(nn.ReLU())
    return modules, (units,)
