"""A network that needs no PyTorch opened up by NumPy.

Behind its last map come an average over all places and layers whose gradient can be written
down. So the gradient that Grad-CAM asks for is the same at every place, and the map of evidence
is the class activation map of Zhou et al. 2016 ("Learning Deep Features for Discriminative
Localization"), of which Grad-CAM is the generalisation: the numbers are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.models.feature_heads import HiddenLayerHead, LinearHead
from tellapart.models.lite_network import LiteNetwork
from tellapart.prediction.classifier import Classifier

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PlainLayer:
    """A layer that gives a map: its name, and what the map measures."""

    name: str
    channels: int
    height: int
    width: int


class InsideLite:
    """See :class:`tellapart.explanation.inside.Inside`."""

    def __init__(self, network: LiteNetwork, classifier: Classifier) -> None:
        self.network = network
        self.height, width = classifier.preprocessing.height, classifier.preprocessing.width
        blank = np.zeros((1, self.height, width, 3), np.uint8)
        self.layers = [
            PlainLayer(name, found.shape[3], *found.shape[1:3])
            for name, found in network.maps(blank)
            if found.shape[1] * found.shape[2] > 1
        ]
        self._sigmoid = classifier.description.single_output
        self.evidence_layer: PlainLayer | None = None
        self.refusal = ""
        if network.head is None:
            self.refusal = (
                "Where the nearest images vote, Grad-CAM needs PyTorch: run pip install "
                "'tellapart[train]'; occlusion and nearest images explain it all the same."
            )
        elif self.layers:
            self.evidence_layer = self.layers[-1]
        else:
            self.refusal = "The images are so small that the last layer has one place only."

    def evidence(self, images: NDArray[np.uint8], classes: Sequence[int]) -> Floats:
        if self.network.head is None:
            raise ValueError(self.refusal)
        drawn = [
            self._evidence(image[None], wanted, self.network.head)
            for image, wanted in zip(images, classes, strict=True)
        ]
        return np.stack(drawn) if drawn else np.zeros((0, *images.shape[1:3]), np.float32)

    def _evidence(
        self, image: NDArray[np.uint8], wanted: int, head: LinearHead | HiddenLayerHead
    ) -> Floats:
        places = list(self.network.maps(image))[-1][1][0]  # (h, w, C)
        column, sign = (0, 2 * wanted - 1) if self._sigmoid else (wanted, 1)
        slope = head.slope(places.mean(axis=(0, 1)), column)
        heat = np.maximum(sign * (places @ slope), 0) / (places.shape[0] * places.shape[1])
        height, width = image.shape[1:3]
        drawn: Floats = (
            _between(heat.shape[0], height) @ heat @ _between(heat.shape[1], width).T
        ).astype(np.float32)
        largest = drawn.max()
        return drawn / largest if largest > 0 else drawn

    def maps(self, image: NDArray[np.uint8], layer: str) -> Floats:
        found = next(places for name, places in self.network.maps(image[None]) if name == layer)
        return np.ascontiguousarray(found[0].transpose(2, 0, 1))

    def kernels(self) -> Floats:
        weight = self.network.state["conv_stem.weight"]
        return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))


def _between(places: int, pixels: int) -> NDArray[np.float64]:
    """The share (pixels, places) of each place in each pixel, linear between their middles."""
    at = np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)
    before = np.minimum(np.floor(at).astype(int), max(places - 2, 0))
    shares = np.zeros((pixels, places))
    rows = np.arange(pixels)
    shares[rows, before] = 1 - (at - before)
    shares[rows, np.minimum(before + 1, places - 1)] += at - before
    return shares
