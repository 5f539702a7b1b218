"""Features and probabilities of made images: known kinds, and images of other kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.unknown import UnknownDetector, build_detector
from tellapart.monitoring.known import KnownImages

CLASSES = ("cat", "dog")
LENGTH = 24


@dataclass(frozen=True)
class World:
    """Two classes in a space of features; each picture is its class's centre and much chance."""

    random: np.random.Generator
    centres: NDArray[np.float64]

    @classmethod
    def of(cls, seed: int) -> World:
        centres = np.random.default_rng(7).normal(0, 1, (3, LENGTH)) + 3
        return cls(np.random.default_rng(seed), centres)

    def images(
        self, number: int, *, dogs: float = 0.5, foreign: int = 0, blurred: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Features and probabilities of so many pictures.

        Args:
            dogs: share of the second class, exactly.
            foreign: how many of them are of a third class, first of all.
            blurred: how far all of them are moved into one direction.
        """
        labels = (np.arange(number) < round(dogs * number)).astype(int)[::-1]
        kinds = np.where(np.arange(number) < foreign, 2, labels)
        features = self.centres[kinds] + self.random.normal(0, 0.5, (number, LENGTH))
        features[:, 0] += blurred
        distances = ((features[:, None] - self.centres[None, :2]) ** 2).sum(axis=2)
        likelihood = np.exp(-0.05 * (distances - distances.min(axis=1, keepdims=True)))
        return features.astype(np.float32), likelihood / likelihood.sum(axis=1, keepdims=True)

    def run(
        self, train: int = 200, validation: int = 200, *, frozen: bool = False
    ) -> tuple[UnknownDetector, KnownImages]:
        """What a run keeps of its training and validation images; on a frozen backbone or not."""
        features, probabilities = self.images(validation)
        detector = build_detector(self.images(train)[0], features)
        return detector, KnownImages.of(features, probabilities, np.full(train, frozen))
