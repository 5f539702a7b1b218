"""What a run keeps of images of its own kind, so that other images can be held against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError
from tellapart.evaluation.unknown import unit_length
from tellapart.models.tensors import read_header, read_tensors, write_tensors

#: Validation images of which features are kept; more cost space and gain little.
MOST_KNOWN = 1000
_TEXT = "what the validation images looked like to the network"


@dataclass(frozen=True, eq=False)
class KnownImages:
    """Images of the kind that a classifier was trained for, as it would see them in use.

    Attributes:
        features: float32 (N, D), of validation images: what the last layer sees, scaled to unit
            length.
        probabilities: float64 (N, C), of these, calibrated.
        trained: bool (M,), which of the training images that the run keeps for the answer
            "unknown" count as well. A frozen backbone sees them as it sees any image; a network
            that was trained through all its layers does not, and then it is none of them. Nor is
            it any that has near copies among the others: it would be nearer to the training
            images than a new image is.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    trained: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def length(self) -> int:
        """D, numbers that a feature vector has."""
        return int(self.features.shape[1])

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        trained: NDArray[np.bool_],
    ) -> KnownImages:
        """Of features of any length, rounded as they come back from a file."""
        return cls(
            unit_length(features).astype(np.float16).astype(np.float32),
            probabilities.astype(np.float32).astype(np.float64),
            trained,
        )

    def save(self, file: Path) -> None:
        """Write a safetensors file, under a temporary name first."""
        arrays: dict[str, NDArray[Any]] = {
            "features": self.features.astype(np.float16),
            "probabilities": self.probabilities.astype(np.float32),
            "trained": self.trained.astype(np.uint8),
        }
        write_tensors(file, arrays, _TEXT)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> KnownImages:
        """What the file holds, checked.

        Raises:
            KeyError, ValueError: the arrays are not such.
        """
        features, probabilities = arrays["features"], arrays["probabilities"]
        if features.ndim != 2 or features.dtype != np.float16 or not len(features):
            raise ValueError(f"features {features.shape} of {features.dtype}")
        if probabilities.ndim != 2 or len(probabilities) != len(features):
            raise ValueError(f"{len(features)} features, probabilities {probabilities.shape}")
        trained = arrays["trained"]
        if trained.ndim != 1 or trained.dtype != np.uint8:
            raise ValueError(f"trained {trained.shape} of {trained.dtype}")
        if not (np.isfinite(features).all() and np.isfinite(probabilities).all()):
            raise ValueError("values that are no numbers")
        return cls(
            features.astype(np.float32), probabilities.astype(np.float64), trained.astype(bool)
        )


def load_known(file: Path) -> KnownImages:
    """Read what :meth:`KnownImages.save` wrote.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return KnownImages.from_arrays(read_tensors(file, read_header(file).digest)[0])
    except (KeyError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}; train again.") from error
