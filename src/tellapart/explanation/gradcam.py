"""Grad-CAM: the places whose features speak for a class (Selvaraju et al. 2017).

Our own thirty lines rather than captum's ``LayerGradCam``, which they are tested against:
they take a frozen network, a single sigmoid output, channels-last maps and the tokens of a
vision transformer, and add no dependency.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from tellapart.explanation.layers import MapLayer, evidence_layer, map_layers
from tellapart.models.network import Network

#: Images that go through the network together.
_BATCH = 8


def grad_cam(
    network: Network,
    images: NDArray[np.uint8],
    classes: Sequence[int] | NDArray[np.int64],
    layer: MapLayer | None = None,
) -> NDArray[np.float32]:
    """Where the evidence for a class lies in each image.

    The channels of a layer's map are added up, each weighted by how much the class score
    (the logit; its negative for the first class of a sigmoid) grows with it on average over
    all places; what speaks against the class is cut off. The network may be frozen.

    Args:
        network: takes images in 0..255; BatchNorm and dropout are in inference mode here.
        images: uint8 (N, H, W, 3), prepared for the network.
        classes: the class to look for in each image, (N,).
        layer: of :func:`map_layers`; None: the last map before pooling.

    Returns:
        float32 (N, H, W), 0..1, the strongest place of each image 1. All zeros where no
        place speaks for the class.

    Raises:
        RunError: the network has no such layer.
    """
    height, width = images.shape[1:3]
    if layer is None:
        layer = evidence_layer(network, map_layers(network, height, width))
    targets = torch.as_tensor(np.asarray(classes, dtype=np.int64))
    was_training = network.training
    network.eval()
    try:
        blocks = [
            _block(network, images[start : start + _BATCH], targets[start : start + _BATCH], layer)
            for start in range(0, len(images), _BATCH)
        ]
    finally:
        network.train(was_training)
    return np.concatenate(blocks) if blocks else np.zeros((0, height, width), np.float32)


def class_scores(network: Network, logits: Tensor, classes: Tensor) -> Tensor:
    """The logit (N,) of one class an image; a sigmoid's one logit speaks for the second."""
    if network.output == "sigmoid":
        return logits[:, 0] * (2 * classes - 1)
    return logits.gather(1, classes[:, None])[:, 0]


def _block(
    network: Network, images: NDArray[np.uint8], classes: Tensor, layer: MapLayer
) -> NDArray[np.float32]:
    captured: list[Tensor] = []

    def capture(_: object, __: object, output: Tensor) -> Tensor:
        captured.append(output)
        return output.clone()  # a later layer may overwrite what it is given

    device = next(network.parameters()).device
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().to(device)
    hook = layer.module.register_forward_hook(capture)
    try:
        with torch.enable_grad():
            # The pixels ask for a gradient, so that one flows where all weights are frozen.
            logits = network(pixels.requires_grad_())
            score = class_scores(network, logits, classes.to(device)).sum()
            (gradient,) = torch.autograd.grad(score, captured[-1])
    finally:
        hook.remove()
    values, slopes = layer.to_map(captured[-1].detach()), layer.to_map(gradient)
    heat = (slopes.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True).relu()
    heat = interpolate(heat, images.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
    largest = heat.amax((1, 2), keepdim=True)
    result: NDArray[np.float32] = (heat / torch.where(largest > 0, largest, 1)).cpu().numpy()
    return result
