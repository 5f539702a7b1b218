"""Sums over the images of an epoch, kept on the device until somebody looks."""

from __future__ import annotations

import torch
from torch import Tensor


class EpochSums:
    """Loss, loss without penalty, and hits.

    A step only keeps its tensors; adding them up waits for the next look, so the loop
    neither waits for the device nor spends a dozen small operations on it a step.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)
        self._means: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._counts: list[int] = []

    def add(self, loss: Tensor, data_loss: Tensor, hits: Tensor, count: int) -> None:
        """Take in a batch: two means over its images, its hits, and its images."""
        self._means += [loss.detach(), data_loss.detach()]
        self._hits.append(hits)
        self._counts.append(count)

    def total(self) -> Tensor:
        """Sums of loss, data loss and hits, and the number of images: float64 (4,)."""
        if self._counts:
            counts = torch.tensor(self._counts, dtype=torch.float64, device=self._sums.device)
            means = torch.stack(self._means).double().reshape(-1, 2)
            self._sums[:2] += counts @ means
            self._sums[2] += torch.stack(self._hits).sum()
            self._sums[3] += counts.sum()
            self._means, self._hits, self._counts = [], [], []
        return self._sums
