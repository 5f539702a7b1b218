"""Groups of images that show the same picture, for ``--group-by near-duplicates``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache
from tellapart.pixels.measures import measure
from tellapart.pixels.similarity import Floats, find_similar, group_pairs, principal_directions
from tellapart.progress import SILENT, Progress


def near_duplicate_groups(
    cache: PixelCache, features: Floats | None = None, *, progress: Progress = SILENT
) -> NDArray[np.int64]:
    """Number the groups of images that show the same picture: int64 (N,).

    An image that is like no other is a group of its own.

    Args:
        cache: the images.
        features: float32 (N, D) of a network, row i of image i; None: pictures that were
            cropped much are found less surely, tilted, framed and written on ones not.
    """
    measures = measure(cache.pixels, progress=progress)
    principal = None if features is None else principal_directions(features)
    similar = find_similar(measures.grey(), principal, changed=True, progress=progress)
    numbers = {digest: row for row, digest in reversed(list(enumerate(cache.digests)))}
    rows = np.arange(len(cache))
    first = np.array([numbers[digest] for digest in cache.digests], np.int64)
    again = first != rows
    return group_pairs(
        len(cache),
        np.concatenate([similar.first, first[again]]),
        np.concatenate([similar.second, rows[again]]),
    )
