"""A classifier's network opened up by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError
from tellapart.explanation.feature_maps import feature_maps
from tellapart.explanation.gradcam import grad_cam
from tellapart.explanation.kernels import first_kernels
from tellapart.explanation.layers import MapLayer, evidence_layer, map_layers
from tellapart.models.network import Network
from tellapart.prediction.classifier import Classifier


class InsideModule:
    """Any network; see :class:`tellapart.explanation.inside.Inside`."""

    def __init__(self, classifier: Classifier) -> None:
        self.network: Network = classifier.network().to(classifier.device)
        self.height = classifier.preprocessing.height
        self.layers = map_layers(self.network, self.height, classifier.preprocessing.width)
        self.evidence_layer: MapLayer | None = None
        self.refusal = ""
        try:
            self.evidence_layer = evidence_layer(self.network, self.layers)
        except RunError as error:
            self.refusal = str(error)

    def evidence(self, images: NDArray[np.uint8], classes: Sequence[int]) -> NDArray[np.float32]:
        return grad_cam(self.network, images, classes, self.evidence_layer)

    def maps(self, image: NDArray[np.uint8], layer: str) -> NDArray[np.float32]:
        found = next(one for one in self.layers if one.name == layer)
        return feature_maps(self.network, image, found)

    def kernels(self) -> NDArray[np.float32]:
        return first_kernels(self.network)
