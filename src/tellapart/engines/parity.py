"""Does an engine agree with eager float32? Made images, and how far two outputs are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: An engine agrees with float32 if no image's output is turned further than this
#: (cosine similarity) and the outputs of all differ by no more than this share of their norm.
#: bfloat16 keeps 8 bits: pretrained EfficientNet-Lite0 differs by 0.04 on photographs (cosine of
#: the worst of 300: 0.997), networks with random weights by 0.01, float32 by 0.00001.
LEAST_COSINE = 0.995
LARGEST_DIFFERENCE = 0.06


@dataclass(frozen=True)
class Difference:
    """How far two sets of outputs are apart; see :func:`difference`."""

    least_cosine: float
    relative: float

    @property
    def acceptable(self) -> bool:
        """Whether an engine that differs this much from float32 may stand in for it."""
        return self.least_cosine >= LEAST_COSINE and self.relative <= LARGEST_DIFFERENCE


def difference(outputs: NDArray[np.float32], reference: NDArray[np.float32]) -> Difference:
    """Compare outputs (N, ...) with a reference of the same shape.

    Returns:
        The smallest cosine similarity of any image's output with its reference, and the norm
        of all differences as a share of the reference's norm.
    """
    ours = outputs.reshape(len(outputs), -1).astype(np.float64)
    theirs = reference.reshape(len(reference), -1).astype(np.float64)
    if not np.isfinite(ours).all():
        return Difference(-1.0, float("inf"))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    cosines = np.divide(products, norms, out=np.ones_like(norms), where=norms > 0)
    size = float(np.linalg.norm(theirs))
    distance = float(np.linalg.norm(ours - theirs))
    return Difference(float(cosines.min()), distance / size if size > 0 else distance)


def check_images(height: int, width: int, number: int = 4) -> NDArray[np.uint8]:
    """Made pictures to compare engines on: smooth colours with fine grain, always the same."""
    random = np.random.default_rng(0)
    rows, columns = np.linspace(0, 1, height), np.linspace(0, 1, width)
    images = np.zeros((number, height, width, 3))
    for image in images:
        for _ in range(6):
            frequency = random.uniform(1, 12, 2)
            phase = random.uniform(0, 2 * np.pi, 2)
            wave = np.outer(
                np.sin(2 * np.pi * frequency[0] * rows + phase[0]),
                np.sin(2 * np.pi * frequency[1] * columns + phase[1]),
            )
            image += wave[:, :, None] * random.uniform(-40, 40, 3)
        image += 128 + random.normal(0, 8, image.shape)
    return np.clip(images, 0, 255).astype(np.uint8)
