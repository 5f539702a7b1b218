"""The images most like an image, as the classifier sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Rows of the reference that are compared at a time.
_BLOCK = 4096


def nearest(
    queries: NDArray[np.float32], reference: NDArray[np.float32], number: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest rows of ``reference`` to each query, by cosine distance.

    Args:
        queries: vectors (Q, D).
        reference: vectors (N, D); may be memory-mapped.
        number: how many to find; fewer where there are fewer.

    Returns:
        Row numbers and distances (0 same direction, 1 unrelated, 2 opposite), each
        (Q, min(number, N)), nearest first; of equally near rows the first.
    """
    units = _unit(queries)
    distances = np.empty((len(queries), len(reference)), np.float64)
    for start in range(0, len(reference), _BLOCK):
        block = _unit(np.asarray(reference[start : start + _BLOCK]))
        distances[:, start : start + len(block)] = 1 - units @ block.T
    order = np.argsort(distances, axis=1, kind="stable")[:, :number]
    return order, np.clip(np.take_along_axis(distances, order, axis=1), 0, 2)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1)
    return units
