"""What a layer makes of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from tellapart.explanation.layers import MapLayer
    from tellapart.models.network import Network


def feature_maps(
    network: Network, image: NDArray[np.uint8], layer: MapLayer
) -> NDArray[np.float32]:
    """A layer's output for one image, float32 (C, h, w).

    Args:
        network: takes images in 0..255; runs in inference mode.
        image: uint8 (H, W, 3), prepared for the network.
        layer: of :func:`tellapart.explanation.layers.map_layers`.
    """
    import torch

    captured: list[Tensor] = []
    hook = layer.module.register_forward_hook(
        # A copy: a later layer may overwrite what it is given.
        lambda _, __, output: captured.append(output.detach().clone())
    )
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            pixels = torch.from_numpy(np.array(image)[None]).permute(0, 3, 1, 2).float()
            network(pixels.to(next(network.parameters()).device))
    finally:
        hook.remove()
        network.train(was_training)
    maps: NDArray[np.float32] = layer.to_map(captured[-1])[0].float().cpu().numpy()
    return maps


def most_varied(maps: NDArray[np.float32], number: int) -> NDArray[np.int64]:
    """Channels that tell places apart most, strongest first: int64 (at most ``number``,)."""
    spread = maps.std(axis=(1, 2))
    order: NDArray[np.int64] = np.argsort(-spread, kind="stable")[:number]
    return order
