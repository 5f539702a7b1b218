"""PyTorch, on any device: where there is no quicker engine, and what the others must match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import Precision, check_pixels

if TYPE_CHECKING:
    from torch import nn


class TorchEngine:
    """A network in PyTorch, on any device, in float32 or by mixed precision."""

    def __init__(
        self, module: nn.Module, device: str, height: int, width: int, precision: Precision
    ) -> None:
        import torch

        from tellapart.models.memory_format import quick_memory_format

        self.name = f"PyTorch {precision} on {device}"
        self._memory_format = quick_memory_format(module, device)
        self._module = module.to(device).to(memory_format=self._memory_format).eval()
        self._device = device
        self._type = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": None}[precision]
        self._image_shape = (height, width, 3)
        self._batch = 32 if device == "cpu" else 256

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3) to outputs (N, ...)."""
        check_pixels(pixels, self._image_shape)
        blocks = list(self._blocks(pixels)) if len(pixels) else [self._empty()]
        return np.concatenate(blocks)

    def _blocks(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        import torch

        from tellapart.models.memory_format import in_order

        kind = self._device.partition(":")[0]
        for start in range(0, len(pixels), self._batch):
            block = torch.from_numpy(np.array(pixels[start : start + self._batch]))
            images = block.to(self._device).permute(0, 3, 1, 2).float()
            images = in_order(images, self._memory_format)
            with (
                torch.inference_mode(),
                torch.autocast(kind, dtype=self._type, enabled=self._type is not None),
            ):
                outputs: NDArray[np.float32] = self._module(images).float().cpu().numpy()
            yield outputs

    def _empty(self) -> NDArray[np.float32]:
        return next(self._blocks(np.zeros((1, *self._image_shape), np.uint8)))[:0]


def fast_precision(device: str) -> Precision:
    """The quickest number format that a device has in hardware."""
    import torch

    from tellapart.machine import has_bf16

    if device == "cpu":
        return "bf16" if has_bf16() else "f32"
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "f16"
    return "f16" if device.startswith("mps") else "bf16"
