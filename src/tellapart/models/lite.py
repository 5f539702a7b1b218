"""EfficientNet-Lite as a table: its layers in order, under timm's names.

The default backbone is one of these, so that it can be run, and be written as ONNX, where PyTorch
is not installed. A network is its layers here and its tensors: sizes of kernels, channels and
groups are those of the tensors. Tests hold each against timm's network of the same name.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(ICML 2019, arXiv 1905.11946), table 1; the Lite networks have no squeeze-and-excitation, ReLU6
instead of swish, and stem, head and the first and last stage of the same size in all
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.models.tensors import joint_digest, tensor_digests

#: Blocks of each stage, by timm's name of the network.
LITE: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
        "tf_efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
        "tf_efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
    }
)
#: Of the first block of each stage; all others have 1.
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
#: What is added to a variance before its root is taken, in all of Google's networks.
EPSILON = 1e-3
#: Activations are cut off below 0 and above this.
CEILING = 6.0

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_PREFIX = "backbone.network."

#: Tensors by timm's names.
State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Layer:
    """A convolution and the BatchNorm behind it.

    ``clipped``: ReLU6 follows. A kernel on one channel each (depthwise) has 1 as the second size
    of its weight.
    """

    convolution: str
    norm: str
    stride: int
    clipped: bool

    @property
    def weight(self) -> str:
        """Name of the kernels, (out, in, k, k)."""
        return f"{self.convolution}.weight"


@dataclass(frozen=True)
class Block:
    """Layers behind one another; ``adds``: what goes in is added to what comes out."""

    name: str
    layers: tuple[Layer, ...]
    adds: bool = False


def lite_name(name: str) -> str | None:
    """The row of :data:`LITE` that a timm name stands for; None where it is another network."""
    name = name.removesuffix(".in1k")
    return name if name in LITE else None


@lru_cache(maxsize=8)
def lite_blocks(name: str) -> tuple[Block, ...]:
    """All blocks of a network of :data:`LITE`, from the image to its last map."""
    return tuple(_blocks(LITE[name]))


def _blocks(repeats: tuple[int, ...]) -> Iterator[Block]:
    yield Block("conv_stem", (Layer("conv_stem", "bn1", 2, True),))
    for stage, number in enumerate(repeats):
        for index in range(number):
            name = f"blocks.{stage}.{index}"
            stride = _STRIDES[stage] if index == 0 else 1
            layers: tuple[Layer, ...]
            if stage == 0:
                layers = (
                    Layer(f"{name}.conv_dw", f"{name}.bn1", stride, True),
                    Layer(f"{name}.conv_pw", f"{name}.bn2", 1, False),
                )
            else:
                layers = (
                    Layer(f"{name}.conv_pw", f"{name}.bn1", 1, True),
                    Layer(f"{name}.conv_dw", f"{name}.bn2", stride, True),
                    Layer(f"{name}.conv_pwl", f"{name}.bn3", 1, False),
                )
            yield Block(name, layers, adds=index > 0)
    yield Block("conv_head", (Layer("conv_head", "bn2", 1, True),))


def lite_layers(name: str) -> tuple[Layer, ...]:
    """All layers of a network of :data:`LITE`, in order."""
    return tuple(layer for block in lite_blocks(name) for layer in block.layers)


def entry_names(name: str) -> tuple[str, ...]:
    """timm's names of all tensors up to the last map, in order."""
    return tuple(
        entry
        for layer in lite_layers(name)
        for entry in (layer.weight, *(f"{layer.norm}.{part}" for part in _NORM))
    )


#: Names of the tensors behind the map, which give the 1000 classes of ImageNet.
CLASSIFIER = ("classifier.weight", "classifier.bias")


def in_network(state: State) -> dict[str, NDArray[Any]]:
    """The tensors under the names that they have in a whole ``Network``.

    A single number is a row of one, as safetensors keeps it.
    """
    return {
        f"{_PREFIX}{entry}": np.ascontiguousarray(np.atleast_1d(value))
        for entry, value in state.items()
    }


def from_network(state: State, name: str) -> dict[str, NDArray[Any]] | None:
    """The backbone's tensors of a whole network, by timm's names; None where one is missing."""
    found = {entry: state.get(f"{_PREFIX}{entry}") for entry in entry_names(name)}
    return (
        {entry: value for entry, value in found.items() if value is not None}
        if all(value is not None for value in found.values())
        else None
    )


def lite_digest(state: State) -> str:
    """Names the backbone's weights by their values, as ``models.kept.backbone_digest`` does."""
    return joint_digest(tensor_digests(in_network(state)))


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Places added before and behind a side of a map: TensorFlow's "SAME".

    With a stride above 1 as many as the last window lacks, the odd one behind; the map that comes
    out has ``ceil(side / stride)`` places.
    """
    if stride == 1:
        return (kernel - 1) // 2, (kernel - 1) // 2
    whole = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return whole // 2, whole - whole // 2
