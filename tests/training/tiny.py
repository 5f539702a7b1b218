"""A small learnable task and network for the tests of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.progress import SilentProgress
from tellapart.training.batches import Arrays

NUM_CLASSES = 3


def tiny_arrays(number: int, seed: int, side: int = 8) -> Arrays:
    """Noise in which the class's colour channel is a little brighter."""
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, NUM_CLASSES, number))
    pixels = random.integers(0, 200, (number, side, side, 3), dtype=np.uint8)
    for channel in range(NUM_CLASSES):
        pixels[labels == channel, :, :, channel] += 25
    return Arrays(pixels, labels)


class TinyNetwork(nn.Module):
    """0..255 images to logits, with a convolution, BatchNorm, dropout and an L2 penalty."""

    def __init__(self, num_outputs: int = NUM_CLASSES, dropout: float = 0.0, l2: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(24, num_outputs)
        self.output.l2 = l2

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.dropout(self.body(images / 255 - 0.5).flatten(1)))


def tiny_network(seed: int = 0, **options: float) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork(**options)


class Listener(SilentProgress):
    """Keeps what was said, and can call something at each note."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
