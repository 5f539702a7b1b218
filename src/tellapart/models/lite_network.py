"""An EfficientNet-Lite that runs, and is written as ONNX, without PyTorch.

NumPy is slow here, a few images a second, and is meant for few: it is the reference that other
engines are held against, the engine of last resort, and the way to look into a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.extras import pytorch_is_here
from tellapart.models.feature_heads import HiddenLayerHead, LinearHead, can_be_frozen, read_head
from tellapart.models.known import Channels
from tellapart.models.lite import (
    CEILING,
    EPSILON,
    Layer,
    State,
    from_network,
    lite_blocks,
    lite_name,
    same_padding,
)
from tellapart.models.lite_folding import kept_scales
from tellapart.models.weights import canonical_name
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, NetworkModel

Floats = NDArray[np.float32]


def lite_network(
    model: NetworkModel, state: State, preprocessing: Preprocessing, *, outputs: int = 0
) -> LiteNetwork | None:
    """The network of a model without PyTorch; None where only PyTorch can run it.

    Args:
        state: tensors by their names in a whole ``Network``.
        outputs: columns of the logits, where the head belongs to it; 0: it ends in features.

    Raises:
        ValueError: tensors of the head are missing, or do not fit together.
    """
    if not isinstance(model, BackboneModel):
        return None
    name = lite_name(canonical_name(model.backbone))
    own = from_network(state, name) if name is not None else None
    if name is None or own is None or (outputs and not can_be_frozen(model)):
        return None
    head = read_head(state, model.head, outputs) if outputs else None
    if not isinstance(head, LinearHead | HiddenLayerHead | None):
        return None
    return LiteNetwork(name, own, preprocessing.mean, preprocessing.std, model.features, head)


def lite_backbone(
    model: NetworkModel, state: State, preprocessing: Preprocessing
) -> LiteNetwork | None:
    """A frozen backbone without PyTorch, where it is the same to the bit as with it.

    That is known of packaged weights; where PyTorch is not installed others are taken, too.

    Args:
        state: tensors by their names in a whole ``Network``.
    """
    found = lite_network(model, state, preprocessing)
    if found is None or (pytorch_is_here() and not kept_scales(found.state)):
        return None
    return found


@dataclass(frozen=True)
class LiteNetwork:
    """uint8 images (N, H, W, 3), RGB, to features or logits, with no package but NumPy.

    ``name`` is a row of ``LITE``, ``state`` its tensors by timm's names; ``mean`` and ``std`` are
    of pixels scaled to 0..1. ``features`` "pooled" gives (N, D), "map" (N, D, h, w); a head on
    pooled features gives logits.
    """

    name: str
    state: State = field(repr=False)
    mean: Channels
    std: Channels
    features: Literal["pooled", "map"] = "pooled"
    head: LinearHead | HiddenLayerHead | None = field(default=None, repr=False)

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """Outputs (N, ...) of uint8 images (N, H, W, 3), in float32."""
        *_, (_, last) = self.maps(pixels)
        if self.features == "map":
            return np.ascontiguousarray(last.transpose(0, 3, 1, 2))
        pooled: Floats = last.mean(axis=(1, 2), dtype=np.float32)
        return pooled if self.head is None else self.head.logits(pooled)

    def maps(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Floats]]:
        """What each layer and block gives, (N, h, w, C), under timm's names, as they finish."""
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        x: Floats = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        for block in lite_blocks(self.name):
            before = x
            for layer in block.layers:
                x = self._convolved(x, layer)
                yield layer.convolution, x
                x = self._normalised(x, layer)
                yield layer.norm, x
            if block.adds:
                x = x + before
            if block.name != block.layers[0].convolution:
                yield block.name, x

    def to_onnx(self, height: int, width: int, *, normalised: bool = False) -> bytes:
        """An ONNX model of images to the outputs, for every number of them.

        Args:
            height, width: of the images, in pixels.
            normalised: they are float32 (N, 3, height, width), else uint8 (N, height, width, 3).
        """
        from tellapart.models.lite_graph import lite_graph

        return lite_graph(self, height, width, normalised=normalised)

    def _convolved(self, x: Floats, layer: Layer) -> Floats:
        weight = self.state[layer.weight]  # (out, in, k, k)
        kernel, stride = weight.shape[2], layer.stride
        if kernel == 1:
            pointwise: Floats = x.reshape(-1, x.shape[-1]) @ weight[:, :, 0, 0].T
            return pointwise.reshape(*x.shape[:-1], -1)
        tall, wide = (same_padding(side, kernel, stride) for side in x.shape[1:3])
        padded = np.pad(x, ((0, 0), tall, wide, (0, 0)))
        height, width = (-(-side // stride) for side in x.shape[1:3])
        is_depthwise = weight.shape[1] == 1
        result = np.zeros((len(x), height, width, len(weight)), np.float32)
        product = np.empty_like(result)
        for row in range(kernel):
            for column in range(kernel):
                seen = padded[
                    :, row : row + stride * (height - 1) + 1 : stride,
                    column : column + stride * (width - 1) + 1 : stride,
                ]  # fmt: skip
                part = weight[:, :, row, column]
                if is_depthwise:
                    np.multiply(seen, part[:, 0], out=product)
                    result += product
                else:
                    result += seen @ part.T
        return result

    def _normalised(self, x: Floats, layer: Layer) -> Floats:
        gamma, beta, mean, variance = (
            self.state[f"{layer.norm}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        y = x - mean
        y *= gamma / np.sqrt(variance + np.float32(EPSILON))
        y += beta
        return np.clip(y, 0, np.float32(CEILING), out=y) if layer.clipped else y
