"""What every classifier does with images, in whatever way it looks at them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import perf_counter
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache
from tellapart.pixels.decode import PictureGiven
from tellapart.progress import SILENT, Progress

#: Images that are in memory at a time.
BLOCK_IMAGES = 256


class Prepared(Protocol):
    """Images as a classifier takes them: one array of pixels, or several."""

    def __len__(self) -> int: ...


P = TypeVar("P", bound=Prepared)


class Calibrated(Protocol):
    """What the description of any classifier says of its logits."""

    @property
    def temperature(self) -> float:
        """Logits are divided by this before the softmax."""

    @property
    def single_output(self) -> bool:
        """Whether the logits are one column, for the second of two classes."""

    @property
    def outputs(self) -> int:
        """Columns of the logits."""


class Answering(ABC, Generic[P]):
    """Images in, probabilities out; several threads may ask at the same time.

    ``P`` is what prepared images are: uint8 (N, H, W, 3), or
    :class:`~tellapart.pixels.sets.PixelSets` where they are prepared in several ways. What becomes
    of probabilities is for a :class:`~tellapart.prediction.predictor.Predictor` to say.
    """

    @property
    @abstractmethod
    def calibration(self) -> Calibrated:
        """How its logits become probabilities."""

    @abstractmethod
    def prepared(self, images: PixelCache, *, progress: Progress = SILENT) -> P:
        """The images of a pixel cache as this classifier looks at them, row by row.

        Raises:
            DataError: a file has changed since it was decoded, or cannot be read at a size that
                is needed.
        """

    @abstractmethod
    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[P, list[str]]:
        """Those pictures that can be read, in their order, and for each "" or why it cannot."""

    @abstractmethod
    def noise(self, images: int) -> P:
        """So many images of noise."""

    @abstractmethod
    def rows_of(self, pixels: P, rows: slice | NDArray[np.int64]) -> P:
        """Some of the images."""

    @abstractmethod
    def block_of_logits(self, block: P) -> NDArray[np.float32]:
        """Logits (N, num_classes or 1) of so many images as are in memory at a time."""

    @abstractmethod
    def features(self, pixels: P, *, progress: Progress = SILENT) -> NDArray[np.float32]:
        """Vectors (N, D) of the images as they are (no views)."""

    def probabilities(self, pixels: P, *, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Class probabilities of prepared images: float64 (N, num_classes), rows sum to 1."""
        return to_probabilities(self.logits(pixels, progress=progress), self.calibration)

    @property
    def features_cost_nothing(self) -> bool:
        """Whether :meth:`probabilities_and_features` is one pass through the network."""
        return False

    def probabilities_and_features(
        self, pixels: P, *, progress: Progress = SILENT
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What :meth:`probabilities` and :meth:`features` give."""
        return self.probabilities(pixels, progress=progress), self.features(pixels)

    def logits(self, pixels: P, *, progress: Progress = SILENT) -> NDArray[np.float32]:
        """Logits (N, num_classes or 1) of prepared images, averaged over the test-time views."""
        results = []
        with progress.stage("Predicting", len(pixels), "images") as stage:
            for start in range(0, len(pixels), BLOCK_IMAGES):
                block = self.rows_of(pixels, slice(start, start + BLOCK_IMAGES))
                results.append(self.block_of_logits(block))
                stage.advance(len(block))
        if not results:
            return np.zeros((0, self.calibration.outputs), dtype=np.float32)
        return np.concatenate(results)

    def logits_of(
        self, images: PixelCache, rows: NDArray[np.int64], *, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """:meth:`logits` of rows of a pixel cache."""
        pixels = self.rows_of(self.prepared(images, progress=progress), rows)
        return self.logits(pixels, progress=progress)

    def features_of(
        self,
        images: PixelCache,
        rows: NDArray[np.int64] | None = None,
        *,
        progress: Progress = SILENT,
    ) -> NDArray[np.float32]:
        """:meth:`features` of rows of a pixel cache; of all, in order, if ``rows`` is None."""
        pixels = self.prepared(images, progress=progress)
        chosen = pixels if rows is None else self.rows_of(pixels, rows)
        return self.features(chosen, progress=progress)

    def seconds_per_image(self, images: int = 32) -> float:
        """How long the networks take for an image here, of many at a time; without decoding.

        Measured on noise after a warm-up; the quickest of three runs, all views counted.
        """
        pixels = self.noise(images)
        self.block_of_logits(self.rows_of(pixels, slice(0, 8)))
        times: list[float] = []
        while len(times) < 3 and sum(times) <= 0.5:
            started = perf_counter()
            self.block_of_logits(pixels)
            times.append(perf_counter() - started)
        return min(times) / images


def to_probabilities(logits: NDArray[np.floating], description: Calibrated) -> NDArray[np.float64]:
    """Softmax, or for a single sigmoid output its two columns, at the temperature."""
    scaled = logits.astype(np.float64) / description.temperature
    if description.single_output:
        scaled = np.concatenate([np.zeros_like(scaled), scaled], axis=1)
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result
