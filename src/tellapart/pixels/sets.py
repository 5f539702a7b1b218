"""PixelSets: the same images prepared in several ways, for classifiers that look at them so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.pixels.decode import PictureGiven, decode_many
from tellapart.pixels.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PixelSets:
    """Row i of every array is one image, prepared in another way in each.

    Attributes:
        arrays: uint8 (N, H, W, 3), RGB, of one N and of different sizes.
    """

    arrays: tuple[Pixels, ...]

    def __post_init__(self) -> None:
        if len({len(array) for array in self.arrays}) != 1:
            raise ValueError(f"arrays of {[len(array) for array in self.arrays]} images")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> PixelSets:
        """These images of every array."""
        return PixelSets(tuple(np.asarray(array[rows]) for array in self.arrays))


def decode_sets(
    pictures: Sequence[PictureGiven], preprocessings: Sequence[Preprocessing]
) -> tuple[PixelSets, list[str]]:
    """Read pictures once for each preprocessing.

    Returns:
        Those pictures that could be read in every way, in their order, and for each "" or the
        reason why it could not.
    """
    found = [decode_many(pictures, preprocessing) for preprocessing in preprocessings]
    reasons = [next(filter(None, told), "") for told in zip(*(r for _, r in found), strict=True)]
    whole = np.array([not reason for reason in reasons], dtype=bool)
    arrays = []
    for pixels, own in found:
        read = np.array([not reason for reason in own], dtype=bool)
        arrays.append(pixels[whole[read]])
    return PixelSets(tuple(arrays)), reasons
