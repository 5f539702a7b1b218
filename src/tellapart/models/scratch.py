"""Small networks trained from random weights, layer by layer.

Each is one function from image size and options to a backbone (up to the last feature map) and
the hidden layers of its head; :data:`NETWORKS` lists them. They are initialised as
Keras does, and have the parameter counts the documents print.

The documents write convolution, ReLU, pooling. Here ReLU comes after the pooling: the
maximum of rectified values is the rectified maximum, so outputs and gradients are the same,
for a quarter of the work (measured on 2 cores: 3 to 6 % of a training step in bf16, up to
20 % in float32).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tellapart.errors import RecipeError
from tellapart.models.head import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    Head,
    build_head,
    initialise,
)
from tellapart.models.scratch_builder import ImageSize, Layers, Options
from tellapart.models.scratch_fast import fast_resnet
from tellapart.recipe import HeadLayer
from tellapart.wording import did_you_mean

# --- building blocks -----------------------------------------------------------------------


def convolution(
    num_inputs: int,
    num_filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | str = 0,
    l2: float = 0.0,
) -> nn.Conv2d:
    """A convolution with bias, initialised as Keras' Conv2D; padding 0 is Keras' "valid"."""
    layer = nn.Conv2d(num_inputs, num_filters, kernel, stride=stride, padding=padding)
    initialise(layer)
    layer.l2 = l2  # type: ignore[assignment]  # read by network.l2_penalty
    return layer


def batch_norm(num_channels: int) -> nn.BatchNorm2d:
    """Keras' BatchNormalization: momentum 0.99 there is 0.01 here; epsilon 1e-3."""
    return nn.BatchNorm2d(num_channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def _flatten() -> HeadLayer:
    return HeadLayer(layer="flatten")


def _dense(units: int, l2: float = 0.0) -> HeadLayer:
    return HeadLayer(layer="dense", units=units, l2=l2)


def _dropout(rate: float) -> HeadLayer:
    return HeadLayer(layer="dropout", rate=rate)


# --- documents 001 to 003 -------------------------------------------------------------------


def small_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 001, Model S: three convolutions, each halved by pooling, and a dense layer."""
    layers: list[nn.Module] = []
    for num_inputs, num_filters in ((3, 16), (16, 32), (32, 64)):
        layers += [convolution(num_inputs, num_filters, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers), [_flatten(), _dense(128)]


def batch_norm_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 001's announced successor: pairs of convolutions with BatchNorm, and dropout.

    The document leaves order and rates open: convolution, BatchNorm, ReLU, and the rates
    that are this network's options.
    """
    layers: list[nn.Module] = []
    num_inputs = 3
    for num_filters in (32, 64, 128):
        layers += [convolution(num_inputs, num_filters, 3, padding=1), batch_norm(num_filters)]
        layers.append(nn.ReLU())
        layers += [convolution(num_filters, num_filters, 3, padding=1), batch_norm(num_filters)]
        layers += [nn.MaxPool2d(2), nn.ReLU()]
        num_inputs = num_filters
    head = [
        _flatten(),
        _dropout(float(options["flatten_dropout"])),
        _dense(256),
        _dropout(float(options["dense_dropout"])),
    ]
    return nn.Sequential(*layers), head


def five_layer_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 002's vanilla CNN: five unpadded convolutions straight to the output."""
    layers: list[nn.Module] = []
    for num_inputs, num_filters in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [convolution(num_inputs, num_filters, 3), nn.MaxPool2d(2), nn.ReLU()]
    layers += [convolution(256, 256, 3), nn.ReLU()]
    rate = float(options["dropout"])
    return nn.Sequential(*layers), [_flatten(), *([_dropout(rate)] if rate else [])]


def strided_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 003's baseline: two strided convolutions, pooled, with L2 on every kernel."""
    l2 = float(options["l2"])
    backbone = nn.Sequential(
        convolution(3, 32, 5, stride=3, l2=l2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        convolution(32, 64, 3, stride=2, l2=l2),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
    return backbone, [_flatten(), _dense(128, l2)]


# --- document 004 -----------------------------------------------------------------------------


def simple_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 004's SimpleModel; its second pooling was built but never used, so is not here."""
    backbone = nn.Sequential(
        convolution(3, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        convolution(32, 64, 3),
        nn.ReLU(),
    )
    return backbone, [_flatten()]


def mid_cnn(image_size: ImageSize, options: Options) -> Layers:
    """Document 004's MidModel: three pairs of unpadded convolutions, pooling, dropout."""
    layers: list[nn.Module] = []
    num_inputs = 3
    for num_filters in (32, 64, 128):
        layers += [convolution(num_inputs, num_filters, 3), nn.ReLU()]
        layers += [convolution(num_filters, num_filters, 3), nn.MaxPool2d(2), nn.ReLU()]
        layers.append(nn.Dropout(float(options["dropout"])))
        num_inputs = num_filters
    return nn.Sequential(*layers), [_flatten(), _dense(128)]


class ResidualBlock(nn.Module):
    """relu(two convolutions with BatchNorm + shortcut).

    With stride 2 the shortcut is a 1x1 convolution with bias and without BatchNorm, as
    the document's parameter counts demand; otherwise it is the input itself.
    """

    def __init__(self, num_inputs: int, num_filters: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = convolution(num_inputs, num_filters, 3, stride=stride, padding=1)
        self.norm1 = batch_norm(num_filters)
        self.convolution2 = convolution(num_filters, num_filters, 3, padding=1)
        self.norm2 = batch_norm(num_filters)
        self.shortcut = (
            nn.Identity() if stride == 1 else convolution(num_inputs, num_filters, 1, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, num_inputs, h, w) to (N, num_filters, h / stride, w / stride)."""
        inner = torch.relu(self.norm1(self.convolution1(x)))
        inner = self.norm2(self.convolution2(inner))
        return torch.relu(inner + self.shortcut(x))


def resnet(image_size: ImageSize, options: Options) -> Layers:
    """Document 004's CustomResNet: the layout of ResNet-18, global pooling, a dense layer."""
    backbone = nn.Sequential(
        convolution(3, 64, 7, stride=2, padding=3),
        batch_norm(64),
        nn.MaxPool2d(3, stride=2),
        nn.ReLU(),
        ResidualBlock(64, 64, stride=1),
        ResidualBlock(64, 64, stride=1),
        ResidualBlock(64, 128, stride=2),
        ResidualBlock(128, 128, stride=1),
        ResidualBlock(128, 256, stride=2),
        ResidualBlock(256, 256, stride=1),
        ResidualBlock(256, 512, stride=2),
        ResidualBlock(512, 512, stride=1),
    )
    return backbone, [HeadLayer(layer="global_pool"), _dense(1000)]


class InceptionBlock(nn.Module):
    """Four branches side by side, each as large as the input, joined to 192 channels.

    (1x1 32, 3x3 32), (1x1 64, 3x3 64), (1x1 64, 3x3 64), (3x3 maximum, 1x1 32); every
    convolution is padded and followed by ReLU.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                convolution(num_inputs, width, 1),
                nn.ReLU(),
                convolution(width, width, 3, padding=1),
                nn.ReLU(),
            )
            for width in (32, 64, 64)
        )
        pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.branches.append(nn.Sequential(pool, convolution(num_inputs, 32, 1), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        """A map (N, num_inputs, h, w) to (N, 192, h, w)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def inception(image_size: ImageSize, options: Options) -> Layers:
    """Document 004's InceptionModel: three inception blocks, each narrowed by a 7x7 convolution.

    The inside of the block is not printed; this is the one reading of its parameter count
    in which both convolutions of a branch are equally wide.
    """
    layers: list[nn.Module] = []
    for block in range(3):
        layers += [InceptionBlock(3 if block == 0 else 64), batch_norm(192)]
        layers.append(convolution(192, 64, 7))
        if block < 2:
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.ReLU())
    head = [_flatten(), _dense(1000), _dropout(float(options["dropout"]))]
    return nn.Sequential(*layers), head


# --- the list, and building by name --------------------------------------------------------


@dataclass(frozen=True)
class ScratchNetwork:
    """One network: how it is built, and the images it was made for."""

    build: Callable[[ImageSize, Options], Layers]
    #: Height and width in pixels where the recipe names none.
    image_size: int
    description: str
    #: Every option with its default.
    options: Options = field(default_factory=dict)
    #: Of pixels scaled to 0..1; these two are Keras' Rescaling(1/255).
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


NETWORKS: Mapping[str, ScratchNetwork] = MappingProxyType(
    {
        "small_cnn": ScratchNetwork(small_cnn, 32, "3 convolutions, 1 dense layer"),
        "batch_norm_cnn": ScratchNetwork(
            batch_norm_cnn,
            32,
            "6 convolutions with BatchNorm, 1 dense layer, dropout",
            {"flatten_dropout": 0.3, "dense_dropout": 0.5},
        ),
        "five_layer_cnn": ScratchNetwork(
            five_layer_cnn, 180, "5 unpadded convolutions", {"dropout": 0.0}
        ),
        "strided_cnn": ScratchNetwork(
            strided_cnn, 64, "2 strided convolutions, 1 dense layer, L2", {"l2": 1e-3}
        ),
        "simple_cnn": ScratchNetwork(simple_cnn, 100, "2 unpadded convolutions"),
        "mid_cnn": ScratchNetwork(
            mid_cnn, 100, "6 unpadded convolutions, 1 dense layer, dropout", {"dropout": 0.25}
        ),
        "resnet": ScratchNetwork(resnet, 100, "17 convolutions in residual blocks, as ResNet-18"),
        "inception": ScratchNetwork(
            inception, 100, "3 inception blocks, 1 dense layer, dropout", {"dropout": 0.5}
        ),
        "fast_resnet": ScratchNetwork(
            fast_resnet,
            32,
            "8 convolutions with BatchNorm, two residual blocks, made for speed on CPUs",
            {"width": 32},
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        ),
    }
)


def scratch_network(name: str) -> ScratchNetwork:
    """The row of :data:`NETWORKS` of this name.

    Raises:
        RecipeError: there is none.
    """
    if name not in NETWORKS:
        hint = did_you_mean(name, NETWORKS)
        raise RecipeError(
            f"model.network: there is no network '{name}'.{hint} There are: {', '.join(NETWORKS)}."
        )
    return NETWORKS[name]


def build_scratch(
    name: str, *, num_outputs: int, image_size: ImageSize, options: Options
) -> tuple[nn.Module, Head]:
    """Make a network by name.

    Args:
        name: a key of :data:`NETWORKS`.
        num_outputs: size of the output layer.
        image_size: height and width in pixels; heads with "flatten" fit no other.
        options: overlaid on the network's own.

    Returns:
        The backbone, normalised float images (N, 3, H, W) to a feature map (N, D, h, w);
        and the head, that map to logits (N, num_outputs).

    Raises:
        RecipeError: unknown name or option, an option of the wrong type, or an image
            that is too small.
    """
    row = scratch_network(name)
    backbone, hidden = row.build(image_size, _checked_options(name, row, options))
    shape = _map_shape(backbone, image_size)
    if shape is None:
        smallest = next(s for s in range(1, 1025) if _map_shape(backbone, (s, s)) is not None)
        raise RecipeError(
            f"data.image_size: images of {image_size[0]} x {image_size[1]} pixels are too small "
            f"for the network '{name}'; its smallest size is {smallest} x {smallest}."
        )
    return backbone, build_head(hidden, shape, num_outputs)


def _checked_options(name: str, row: ScratchNetwork, options: Options) -> Options:
    for key, value in options.items():
        if key not in row.options:
            known = ", ".join(row.options) or "none"
            raise RecipeError(
                f"model.options: the network '{name}' has no option '{key}'; it has: {known}."
            )
        default = row.options[key]
        right = isinstance(value, type(default)) or (
            isinstance(default, float) and isinstance(value, int)
        )
        if not right or isinstance(value, bool) != isinstance(default, bool):
            raise RecipeError(
                f"model.options.{key}={value!r}: the network '{name}' takes a "
                f"{type(default).__name__} here, such as {default!r}."
            )
    return {**row.options, **options}


def _map_shape(backbone: nn.Module, size: ImageSize) -> tuple[int, ...] | None:
    """Shape of the feature map for one image of this size; None where nothing is left of it."""
    backbone.eval()
    try:
        with torch.no_grad():
            shape = tuple(backbone(torch.zeros(1, 3, *size)).shape[1:])
    except RuntimeError:  # PyTorch's answer to a kernel larger than its input
        return None
    finally:
        backbone.train()
    return shape
