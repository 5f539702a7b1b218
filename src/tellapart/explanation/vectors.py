"""The vector that a classifier's last layer sees, for every image, kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.pixels import PixelCache
from tellapart.engines.choice import ENGINE_VERSION, build_engine
from tellapart.engines.engine import Engine
from tellapart.machine import processor_name, resolve_device
from tellapart.prediction.classifier import Classifier
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    from torch import nn

_BLOCK = 256
_FILE = "vectors.npy"


def vectors_of(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Vectors (N, D) of prepared images, uint8 (N, H, W, 3)."""
    return _engine(classifier, len(pixels))(pixels)


def vectors_of_all(
    classifier: Classifier, images: PixelCache, *, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Vectors (N, D) of all images of a pixel cache, in its order; kept for the next time."""
    key = cache.text_digest(
        _network_key(classifier), images.key, ENGINE_VERSION, resolve_device(classifier.device),
        processor_name(),
    )

    def build(folder: Path) -> None:
        engine = _engine(classifier, len(images))
        blocks = []
        with progress.stage("Features of all images", len(images), "images") as stage:
            for start in range(0, len(images), _BLOCK):
                blocks.append(engine(np.asarray(images.pixels[start : start + _BLOCK])))
                stage.advance(len(blocks[-1]))
        np.save(folder / _FILE, np.concatenate(blocks))

    folder = cache.entry("vectors", key, build)
    vectors: NDArray[np.float32] = np.load(folder / _FILE, mmap_mode="r")
    return vectors


def _network_key(classifier: Classifier) -> str:
    """A frozen backbone has its own name; a probe on it has no hidden layers to add to it."""
    frozen = classifier.description.frozen_backbone
    return frozen or f"vectors-{cache.file_digest(classifier.stored_file)}"


def _engine(classifier: Classifier, expected_images: int) -> Engine:
    def make_module() -> nn.Module:
        from torch import nn

        network = classifier.network()
        return nn.Sequential(network.normalise, network.backbone, network.head.hidden).eval()

    return build_engine(
        make_module,
        key=_network_key(classifier),
        height=classifier.preprocessing.height,
        width=classifier.preprocessing.width,
        expected_images=expected_images,
        device=classifier.device,
    )
