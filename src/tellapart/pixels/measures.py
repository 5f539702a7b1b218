"""What is measured of every picture in one pass over the pixels: thumbnail, sharpness, borders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.machine import num_cores
from tellapart.progress import SILENT, Progress

THUMBNAIL_SIDE = 32
_SHARPNESS_SIDE = 2 * THUMBNAIL_SIDE
_BLOCK = 64
#: Standard deviation, in grey levels, under which an edge is of one colour.
_PLAIN = 5.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's mode L


@dataclass(frozen=True)
class Measures:
    """One row a picture.

    Attributes:
        thumbnails: uint8 (N, 32, 32, 3), means of areas.
        sharpness: float32 (N,), standard deviation of the Laplacian over that of the picture,
            at 64 x 64 pixels: about 0.7 for a photograph, at least 0.3 for nearly all; 0.16
            after a Gaussian blur of 2 % of the width (measured on Dogs vs. Cats small).
        borders: what two opposite edges show: "black", "white", "plain" (another single
            colour) or "" (a picture).
    """

    thumbnails: NDArray[np.uint8]
    sharpness: NDArray[np.float32]
    borders: NDArray[np.str_]

    def grey(self) -> NDArray[np.float32]:
        """The thumbnails in grey, float32 (N, 32, 32), 0..255."""
        return self.thumbnails.astype(np.float32) @ _LUMA

    def ranges(self) -> NDArray[np.float32]:
        """Levels between the darkest and the brightest area, in the channel where they are
        furthest apart: float32 (N,). Noise hardly shows in the mean of an area."""
        areas = self.thumbnails.reshape(len(self.thumbnails), -1, 3)
        spread = areas.max(axis=1).astype(np.float32) - areas.min(axis=1)
        result: NDArray[np.float32] = spread.max(axis=1)
        return result


def measure(pixels: NDArray[np.uint8], *, progress: Progress = SILENT) -> Measures:
    """Measure every picture of a pixel array, uint8 (N, H, W, 3)."""
    count = len(pixels)
    thumbnails = np.zeros((count, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8)
    sharpness = np.zeros(count, np.float32)
    borders = np.full(count, "", "<U5")

    def block(start: int) -> int:
        rows = slice(start, min(start + _BLOCK, count))
        part = np.asarray(pixels[rows])
        small = np.stack([_reduced(picture) for picture in part])
        sharpness[rows] = _sharpness(small @ _LUMA)
        quarters = small.reshape(len(small), THUMBNAIL_SIDE, 2, THUMBNAIL_SIDE, 2, 3)
        thumbnails[rows] = np.rint(quarters.mean(axis=(2, 4)))
        borders[rows] = _borders(part)
        return len(part)

    with (
        progress.stage("Measuring", count, "images") as stage,
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        for done in pool.map(block, range(0, count, _BLOCK)):
            stage.advance(done)
    return Measures(thumbnails, sharpness, borders)


def grey_thumbnails(pixels: NDArray[np.uint8], *, progress: Progress = SILENT) -> NDArray[np.uint8]:
    """Small grey pictures, means of areas, of a pixel array: uint8 (N, 32, 32).

    A tenth of the time of :func:`measure`, for what is asked before every training.
    """
    count = len(pixels)
    thumbnails = np.zeros((count, THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)

    def block(start: int) -> int:
        rows = slice(start, min(start + _BLOCK, count))
        for row, picture in enumerate(np.asarray(pixels[rows]), start=start):
            grey = Image.fromarray(picture).convert("L")
            thumbnails[row] = np.asarray(grey.resize(size, Image.Resampling.BOX))
        return int(rows.stop - start)

    with (
        progress.stage("Making thumbnails", count, "images") as stage,
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        for done in pool.map(block, range(0, count, _BLOCK)):
            stage.advance(done)
    return thumbnails


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 64 x 64 areas: uint8 (H, W, 3) to float32 (64, 64, 3)."""
    size = (_SHARPNESS_SIDE, _SHARPNESS_SIDE)
    image = Image.fromarray(picture)
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


def _sharpness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    laplacian = 4 * grey[:, 1:-1, 1:-1] - around
    contrast = np.maximum(grey.std(axis=(1, 2)), 1.0)
    result: NDArray[np.float32] = laplacian.std(axis=(1, 2)) / contrast
    return result


def _borders(pixels: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Look at the outer two rows at top and bottom, then the outer two columns."""
    names = np.full(len(pixels), "", "<U5")
    for ends in ((pixels[:, :2], pixels[:, -2:]), (pixels[:, :, :2], pixels[:, :, -2:])):
        edges = np.concatenate([end.reshape(len(pixels), -1, 3) for end in ends], axis=1)
        plain = edges.std(axis=1, dtype=np.float32).max(axis=1) < _PLAIN
        mean = edges.mean(axis=1, dtype=np.float32)
        dark, bright = mean.max(axis=1) < 24, mean.min(axis=1) > 231
        colour = np.where(dark, "black", np.where(bright, "white", "plain"))
        names = np.where(plain & (names == ""), colour, names)
    return names
