"""In which number format a network is trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from tellapart.machine import has_bf16


def trains_in_bf16(
    precision: Literal["auto", "float32", "bf16"],
    device: torch.device,
    images: bool,
    network: nn.Module,
) -> bool:
    """Whether forward and backward run under bf16 autocast; weights stay float32.

    "auto" is a rule, not a timing, so that one machine always decides alike: bf16 for
    images wherever the processor multiplies bf16 itself, float32 for features (their heads
    are small and wait for memory) and, on a CPU, for networks of depthwise convolutions.
    Measured on 2 cores of an AMD EPYC (Zen 4) with AVX-512 bf16, bf16 took 0.7 of float32's
    time for the CIFAR-10 baseline and half of it for larger networks, but 1.4 times it for
    EfficientNet-Lite0 at 96 pixels.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu" and _is_depthwise(network):
        return False
    return images and _multiplies_bf16(device)


def _is_depthwise(network: nn.Module) -> bool:
    """Whether a quarter of the convolutions or more see one channel each."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    return 4 * sum(layer.groups > 1 for layer in layers) >= max(len(layers), 1)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and has_bf16()
