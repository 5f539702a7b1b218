"""All images as points of a plane, near each other where the classifier sees them alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.arrays import save_array
from tellapart.machine import single_threaded

#: Below this many images t-SNE has nothing to arrange and PCA is used.
_FEWEST = 30
#: Directions that are kept for t-SNE: the rest is mostly noise, and costs time.
_DIRECTIONS = 50
#: Raised when the same vectors give another map.
_VERSION = "1"
_FILE = "points.npy"


def embed(vectors: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float64]:
    """Lay vectors (N, D) out as points (N, 2); kept in the cache for the next time.

    Vectors are brought to length 1, so that distances agree with :func:`nearest
    <tellapart.explanation.neighbours.nearest>`; then PCA to 50 directions and t-SNE (van der
    Maaten and Hinton 2008), or PCA alone for fewer than 30 images. Groups mean something;
    distances between far groups and the axes do not.
    """
    values = np.ascontiguousarray(vectors)
    facts = f"{values.shape}{values.dtype}{_VERSION}{seed}"
    key = cache.text_digest(cache.bytes_digest(values.tobytes()), facts)

    def build(folder: Path) -> None:
        save_array(folder / _FILE, _arrange(values, seed))

    points: NDArray[np.float64] = cache.opened(
        "maps", key, build, lambda folder: np.load(folder / _FILE)
    )
    return points


def _arrange(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units = wide / np.where(lengths > 0, lengths, 1)
    if len(units) < 2:
        return np.zeros((len(units), 2))
    directions = min(_DIRECTIONS, *units.shape)
    points = PCA(directions, svd_solver="auto", random_state=seed).fit_transform(units)
    if directions < 2:
        points = np.pad(points, ((0, 0), (0, 2 - directions)))
    if len(units) < _FEWEST:
        flat: NDArray[np.float64] = points[:, :2]
        return flat
    perplexity = min(30.0, (len(units) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500)
    # Its threads wait for each other more than they work: 1,500 points took 18 s of two busy
    # cores with two threads, 4 s with one.
    with single_threaded():
        plane: NDArray[np.float64] = tsne.fit_transform(points).astype(np.float64)
    return plane
