"""The answer "unknown": images unlike any that the classifier was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError, RunError
from tellapart.models.tensors import read_header, read_tensors, write_tensors

_TEXT = "what tells images unlike the training ones"
#: How often foreign images are noticed (benchmarks/foreign_unseen.py): of another kind of thing,
#: and of classes that were left out.
NOTICED_FAR, NOTICED_NEAR = 0.99, 0.15


@dataclass(frozen=True, eq=False)
class UnknownDetector:
    """Calls an image "unknown" when its features are far from every training image's.

    The distance is that to the ``neighbours``-th nearest training image, between features
    scaled to unit length (Sun et al. 2022, "Out-of-distribution detection with deep
    nearest neighbors"); 0..2. Why this score, and which others were tried: docs/foreign-images.md.

    Attributes:
        reference: float32 (M, D), features of training images, unit length.
        neighbours: which neighbour counts.
        threshold: the distance from which an image is unknown.
        false_alarm_rate: share of known images that will be called unknown, as wished.
    """

    reference: NDArray[np.float32]
    neighbours: int
    threshold: float
    false_alarm_rate: float

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 (N,): how far features (N, D) are from the training images.

        Raises:
            RunError: the features have another length D than those of the training images.
        """
        if len(features) and features.reshape(len(features), -1).shape[1] != self.length:
            raise RunError(
                f"What this run keeps of its training images has {self.length} numbers an image, "
                f"its model makes {features.reshape(len(features), -1).shape[1]}: its "
                "unknown.safetensors is of another run; train again."
            )
        rows = [
            _neighbour_distance(
                unit_length(features[start : start + 4096]), self.reference, self.neighbours
            )
            for start in range(0, len(features), 4096)
        ]
        return np.concatenate(rows) if rows else np.zeros(0)

    def own_distances(self) -> NDArray[np.float64]:
        """float64 (M,): how far each training image is from the others."""
        neighbours = min(self.neighbours + 1, len(self.reference))  # the nearest is itself
        return _neighbour_distance(self.reference, self.reference, neighbours)

    @property
    def length(self) -> int:
        """D, numbers that a feature vector has."""
        return int(self.reference.shape[1])

    def is_unknown(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool (N,): further away than the threshold."""
        far: NDArray[np.bool_] = self.distances(features) > self.threshold
        return far

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What safetensors stores; float16 features move distances by less than 0.001."""
        return {
            "reference": self.reference.astype(np.float16),
            "settings": np.array([self.neighbours, self.threshold, self.false_alarm_rate]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> UnknownDetector:
        """The inverse of :meth:`to_arrays`.

        Raises:
            KeyError, ValueError: the arrays are not such.
        """
        settings, reference = arrays["settings"], arrays["reference"]
        if settings.shape != (3,) or reference.ndim != 2 or reference.dtype != np.float16:
            raise ValueError(f"settings {settings.shape}, reference {reference.shape}")
        neighbours, threshold, rate = settings.tolist()
        if not (1 <= neighbours <= len(reference) and threshold >= 0 and 0 < rate < 1):
            raise ValueError(f"settings {settings.tolist()}")
        if not np.isfinite(reference).all():
            raise ValueError("values that are no numbers")
        return cls(reference.astype(np.float32), int(neighbours), threshold, rate)

    def save(self, file: Path) -> None:
        """Write a safetensors file, under a temporary name first."""
        write_tensors(file, self.to_arrays(), _TEXT)


def load_unknown(file: Path) -> UnknownDetector:
    """Read what :meth:`UnknownDetector.save` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    if not file.is_file():
        raise RunError(
            f"{file.parent} cannot answer 'unknown': it has no {file.name}. Runs with at least "
            "19 validation images get one when they are trained."
        )
    try:
        return UnknownDetector.from_arrays(read_tensors(file, read_header(file).digest)[0])
    except (KeyError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error


def build_detector(
    train_features: NDArray[np.float32],
    validation_features: NDArray[np.float32],
    *,
    false_alarm_rate: float = 0.05,
    neighbours: int = 5,
    maximum_reference: int = 2000,
    seed: int = 0,
) -> UnknownDetector:
    """Set up the "unknown" answer: reference from train, threshold from validation.

    The threshold is the conformal quantile: a new image like the validation ones is called
    unknown with a chance of at most ``false_alarm_rate``.

    Args:
        train_features: float32 (M, D); of more than ``maximum_reference`` a seeded sample
            is kept.
        validation_features: float32 (N, D), images that were not trained on.

    Raises:
        DataError: there are too few validation images for this rate.
    """
    generator = np.random.default_rng(seed)
    if len(train_features) > maximum_reference:
        rows = np.sort(generator.choice(len(train_features), maximum_reference, replace=False))
        train_features = train_features[rows]
    # Rounded as they will be stored, so that a loaded run says the same.
    reference = unit_length(train_features).astype(np.float16).astype(np.float32)
    neighbours = min(neighbours, len(reference))
    images = len(validation_features)
    rank = int(np.ceil((images + 1) * (1.0 - false_alarm_rate)))
    if rank > images:
        raise DataError(
            f"A false-alarm rate of {false_alarm_rate:.3g} needs at least "
            f"{int(np.ceil(1 / max(false_alarm_rate, 1e-9))) - 1} validation images; there are "
            f"{images}. Ask for a higher rate or add validation images."
        )
    detector = UnknownDetector(reference, neighbours, np.inf, false_alarm_rate)
    distances = np.sort(detector.distances(validation_features))
    return replace(detector, threshold=float(distances[rank - 1]))


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, ...) as float32 (N, D), each row scaled to length 1."""
    rows = np.asarray(features, dtype=np.float32).reshape(len(features), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return unit


def _neighbour_distance(
    features: NDArray[np.float32], reference: NDArray[np.float32], neighbours: int
) -> NDArray[np.float64]:
    squares = np.clip(2.0 - 2.0 * (features @ reference.T), 0.0, None)
    nearest = np.partition(squares, neighbours - 1, axis=1)[:, neighbours - 1]
    return np.sqrt(nearest.astype(np.float64))
