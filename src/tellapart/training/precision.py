"""In which number format a network is trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from tellapart.machine import has_bf16


def trains_in_bf16(
    precision: Literal["auto", "float32", "bf16"], device: torch.device, network: nn.Module
) -> bool:
    """Whether forward and backward run under bf16 autocast; weights stay float32.

    "auto" is a rule, not a timing, so that one machine always decides alike: bf16 for
    networks with convolutions wherever the processor multiplies bf16 itself, float32 for
    heads on features, which are small and wait for memory. Measured on 2 cores of an AMD
    EPYC (Zen 4) with AVX-512 bf16, bf16 took 0.7 of float32's time for the CIFAR-10 baseline,
    half of it for larger networks, and 0.7 of it for EfficientNet-Lite0 (with the gradients
    of ``models.depthwise``; without them 1.4 times float32's).
    """
    if precision != "auto":
        return precision == "bf16"
    convolves = any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    return convolves and _multiplies_bf16(device)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and has_bf16()
