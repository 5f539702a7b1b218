"""What every engine is: pixels in, outputs of a network out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    MakeModule = Callable[[], nn.Module]

Precision = Literal["bf16", "f16", "f32"]


class PlainNetwork(Protocol):
    """A network that needs no PyTorch."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3), RGB, to outputs (N, ...), in float32."""

    def to_onnx(self, height: int, width: int) -> bytes:
        """An ONNX model of uint8 images (N, height, width, 3) to the outputs, for every N."""


class Engine(Protocol):
    """Pixels in, outputs of a network out."""

    @property
    def name(self) -> str:
        """What runs, for people: "OpenVINO bf16"."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3), RGB, to outputs (N, ...)."""


def check_pixels(pixels: NDArray[np.uint8], image_shape: tuple[int, int, int]) -> None:
    """Refuse what is not uint8 images of the engine's size.

    Raises:
        ValueError: another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.shape[1:] != image_shape:
        raise ValueError(
            f"an engine for uint8 images (N, {image_shape[0]}, {image_shape[1]}, 3) was given "
            f"{pixels.dtype} {pixels.shape}"
        )
