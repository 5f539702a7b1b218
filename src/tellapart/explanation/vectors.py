"""The vector that a classifier's last layer sees, for every image, kept in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.arrays import open_array, save_array
from tellapart.data.pixels import PixelCache
from tellapart.machine import processor_name
from tellapart.prediction.classifier import Classifier
from tellapart.progress import SILENT, Progress

_FILE = "vectors.npy"


def vectors_of(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Vectors (N, D) of prepared images, uint8 (N, H, W, 3)."""
    return classifier.features(pixels)


def vectors_of_all(
    classifier: Classifier, images: PixelCache, *, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Vectors (N, D) of all images of a pixel cache, in its order; kept for the next time."""
    key = cache.text_digest(
        classifier.features_key, classifier.features_engine(), processor_name(), images.key
    )

    def build(folder: Path) -> None:
        save_array(folder / _FILE, classifier.features_of(images, progress=progress))

    return cache.opened("vectors", key, build, lambda folder: open_array(folder / _FILE))
