"""The network of the recipe scratch-fast: made to learn much in few minutes on a CPU.

A residual network in the manner of ResNet-9, whose sizes were chosen by measuring
training steps on 2 cores in bf16 and channels-last. What makes it quick is little depth,
pooling right after each widening convolution, and kernels of 3x3 only.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from tellapart.models.scratch_builder import ImageSize, Layers, Options
from tellapart.recipe import HeadLayer

#: Height and width the body works at; larger images are halved by the stem until near it.
BODY_SIZE = 32


class ConvolutionNorm(nn.Module):
    """3x3 convolution, then 2x2 maximum where ``pool`` says so, BatchNorm, ReLU.

    BatchNorm has PyTorch's momentum (0.1), whose averages settle within an epoch of a few
    dozen steps; Keras' 0.01 would not.
    """

    def __init__(
        self, num_inputs: int, num_filters: int, *, stride: int = 1, pool: bool = False
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            num_inputs, num_filters, 3, stride=stride, padding=1, bias=False
        )
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(num_filters)

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, num_inputs, h, w) to (N, num_filters, h, w), halved by stride or pool."""
        return torch.relu(self.norm(self.pool(self.convolution(x))))


class Residual(nn.Module):
    """x + two ConvolutionNorm of x."""

    def __init__(self, num_filters: int) -> None:
        super().__init__()
        self.first = ConvolutionNorm(num_filters, num_filters)
        self.second = ConvolutionNorm(num_filters, num_filters)

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, num_filters, h, w) to one of the same shape."""
        inner: Tensor = self.second(self.first(x))
        return x + inner


def fast_resnet(image_size: ImageSize, options: Options) -> Layers:
    """Stem, three halvings to 2, 4 and 8 times the width, two residual blocks.

    Images much larger than :data:`BODY_SIZE` first pass strided convolutions, one for each
    halving that brings them near it: one at 64 pixels, two at 128, three at 224.
    """
    width = int(options["width"])
    halvings = max(0, round(math.log2(min(image_size) / BODY_SIZE)))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    num_inputs = 3
    for number in range(halvings):
        parts[f"halve{number + 1}"] = ConvolutionNorm(num_inputs, width, stride=2)
        num_inputs = width
    parts["stem"] = ConvolutionNorm(num_inputs, width)
    parts["widen1"] = ConvolutionNorm(width, 2 * width, pool=True)
    parts["residual1"] = Residual(2 * width)
    parts["widen2"] = ConvolutionNorm(2 * width, 4 * width, pool=True)
    parts["widen3"] = ConvolutionNorm(4 * width, 8 * width, pool=True)
    parts["residual2"] = Residual(8 * width)
    return nn.Sequential(parts), [HeadLayer(layer="global_pool")]
