"""NumPy: the engine of last resort for networks that need no PyTorch; slow, but always there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import PlainNetwork, check_pixels

#: Images in one call, which bounds the memory; always so many, so that an image gets the same
#: numbers whatever comes with it.
_BATCH = 4


class NumpyEngine:
    """A network that needs no PyTorch, in float32."""

    name = "NumPy f32"

    def __init__(self, network: PlainNetwork, height: int, width: int) -> None:
        self._network = network
        self._image_shape = (height, width, 3)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3) to outputs (N, ...)."""
        check_pixels(pixels, self._image_shape)
        if not len(pixels):
            return self._network(np.zeros((1, *self._image_shape), np.uint8))[:0]
        return np.concatenate(list(self._blocks(pixels)))

    def _blocks(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        filled = np.zeros((_BATCH, *self._image_shape), np.uint8)
        for start in range(0, len(pixels), _BATCH):
            block = pixels[start : start + _BATCH]
            filled[: len(block)] = block
            yield self._network(filled)[: len(block)]
