"""What the first layer of a network answers to: its kernels, as small pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError

if TYPE_CHECKING:
    from tellapart.models.network import Network

#: Kernels whose strongest weight is below this are shown black, not blown up into noise.
_FAINTEST = 1e-3


def first_kernels(network: Network) -> NDArray[np.float32]:
    """The kernels of the first convolution over colours, float32 (K, h, w, 3).

    The last axis is red, green, blue: networks here take RGB from the file to the first
    layer, so no channel changes place.

    Raises:
        RunError: the network has no convolution over the three colours.
    """
    from torch import nn

    for module in network.backbone.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
            weights = module.weight.detach().float().cpu().numpy()
            kernels: NDArray[np.float32] = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
            return kernels
    raise RunError("This network has no first layer of kernels over red, green and blue.")


def signed_parts(
    kernels: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each kernel wants to see, and what it wants not to see.

    Args:
        kernels: (K, h, w, 3).

    Returns:
        The positive part and the negative part with its sign turned, each (K, h, w, 3) in
        0..1, each divided by its own maximum where that is above 0.001.
    """
    return _brightest_one(np.maximum(kernels, 0)), _brightest_one(np.maximum(-kernels, 0))


def _brightest_one(parts: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = parts.max(axis=(1, 2, 3), keepdims=True)
    divisor = np.where(largest > _FAINTEST, largest, 1).astype(np.float32)
    scaled: NDArray[np.float32] = parts / divisor
    return scaled
