"""Can the probabilities be believed, and where should the line be drawn?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bins of equal width over 0..1, as in Guo et al. 2017 ("On calibration of modern networks").
BINS = 15


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> tuple[float, NDArray[np.float64]]:
    """Mean distance between confidence and accuracy over bins of equal width.

    Returns:
        The error (0..1), and float64 (N, bins): each image's correct - confidence in the
        column of its bin, so that ``abs(column sums).sum() / N`` is the error.
    """
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), _bin(confidence, bins)] = correct - confidence
    error = float(np.abs(gaps.sum(axis=0)).sum() / len(confidence)) if len(confidence) else 0.0
    return error, gaps


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[dict[str, Any]]:
    """The bins that hold images: their limits, images, mean confidence and accuracy."""
    member = _bin(confidence, bins)
    images = np.bincount(member, minlength=bins)
    confidences = np.bincount(member, weights=confidence, minlength=bins)
    rights = np.bincount(member, weights=correct, minlength=bins)
    return [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "images": int(images[i]),
            "confidence": float(confidences[i] / images[i]),
            "accuracy": float(rights[i] / images[i]),
        }
        for i in np.flatnonzero(images).tolist()
    ]


def _bin(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Bin of each value; bins hold their upper limit, the first one 0 as well."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
