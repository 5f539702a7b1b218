"""In which order the numbers of images and maps lie in memory while a network runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def quick_memory_format(network: nn.Module, device: str) -> torch.memory_format:
    """Channels last, but for networks with depthwise convolutions on a GPU.

    There cuDNN compiles a kernel for every such layer, and they are slower in the end: on an
    NVIDIA H200 (PyTorch 2.11, EfficientNet-Lite0 with still BatchNorm, 64 images of 96 pixels,
    bf16) the first step took 8.7 s channels last and 0.7 s as it is here, and later steps
    trained 4,063 and 5,483 images a second.

    Args:
        network: the layers that are about to run.
        device: "cpu", "cuda", "cuda:1", ...
    """
    on_gpu = device.partition(":")[0] != "cpu"
    if on_gpu and any(_is_depthwise(layer) for layer in network.modules()):
        return torch.contiguous_format
    return torch.channels_last


def in_order(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images or maps (N, C, H, W) in an order of memory; vectors and tokens as they are."""
    return images.contiguous(memory_format=memory_format) if images.ndim == 4 else images


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
