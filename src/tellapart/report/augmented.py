"""A sheet of augmented samples: what a recipe's random transforms make of real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.data.table import ImageTable
from tellapart.pixels.decode import UnreadableImage, decode
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import AugmentationStep

if TYPE_CHECKING:
    from PIL import Image

#: Pictures on a sheet, and tiles of each: the picture itself and 8 draws.
PICTURES, _GRID = 4, 3
#: Pixels of a tile's longer side, of the gap between tiles and of that between pictures.
_TILE, _GAP, _SPACE = 120, 2, 18
_PAPER = (255, 255, 255)


def augmented_samples(
    table: ImageTable,
    preprocessing: Preprocessing,
    steps: Sequence[AugmentationStep],
    *,
    seed: int = 0,
    pictures: int = PICTURES,
) -> tuple[list[int], NDArray[np.uint8]]:
    """Augment a few images of different classes as training would.

    Returns:
        Their rows in ``table``, and uint8 (number of images, 9, H, W, 3): the picture as it
        is, then 8 draws.

    Raises:
        RecipeError: the steps do not go together.
    """
    import torch

    from tellapart.pixels.augmentation import augment_pixels, build_augmentation

    augmentation = build_augmentation(steps)
    generator = torch.Generator().manual_seed(seed)
    rows: list[int] = []
    samples = []
    for row in _candidates(table, seed):
        if len(rows) == pictures:
            break
        try:
            pixels = decode(table.file(row), preprocessing)
        except UnreadableImage:
            continue
        repeated = np.repeat(pixels[None], _GRID**2 - 1, axis=0)
        drawn = (
            repeated if augmentation is None else augment_pixels(repeated, augmentation, generator)
        )
        rows.append(row)
        samples.append(np.concatenate([pixels[None], drawn]))
    return rows, np.stack(samples)


def augmented_sheet(samples: NDArray[np.uint8]) -> Image.Image:
    """One picture of all samples (P, 9, H, W, 3): a 3 x 3 grid each, two grids a row."""
    from PIL import Image

    height, width = samples.shape[2:4]
    scale = _TILE / max(height, width)
    # Whole multiples keep the pixels of small images square and sharp.
    scale = max(1.0, float(int(scale))) if scale >= 1 else scale
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    across = 2 if len(samples) > 1 else 1
    block = [_GRID * side + (_GRID - 1) * _GAP for side in size]
    down = -(-len(samples) // across)
    sheet = Image.new(
        "RGB",
        (across * block[0] + (across - 1) * _SPACE, down * block[1] + (down - 1) * _SPACE),
        _PAPER,
    )
    for number, tiles in enumerate(samples):
        left = (number % across) * (block[0] + _SPACE)
        top = (number // across) * (block[1] + _SPACE)
        for index, tile in enumerate(tiles):
            x = left + (index % _GRID) * (size[0] + _GAP)
            y = top + (index // _GRID) * (size[1] + _GAP)
            sheet.paste(Image.fromarray(tile).resize(size, how), (x, y))
    return sheet


def _candidates(table: ImageTable, seed: int) -> list[int]:
    """Training rows in random order, one of each class in turn."""
    random = np.random.default_rng(seed)
    train = np.flatnonzero((table.parts == "train") | (table.parts == ""))
    shuffled = random.permutation(train)
    turn = np.zeros(len(shuffled), np.int64)
    for label in np.unique(table.labels[shuffled]):
        members = table.labels[shuffled] == label
        turn[members] = np.arange(int(members.sum()))
    order = np.lexsort((table.labels[shuffled], turn))
    return [int(row) for row in shuffled[order]]
