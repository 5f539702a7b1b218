"""Which images each step of an epoch sees, in which process, and with which seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from tellapart.training.batches import (
    BatchSource,
    balanced_plan,
    derive_seed,
    shuffled_plan,
    steps_per_epoch,
)


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one process in one epoch.

    Processes divide each batch among them. Accelerate averages their gradients, so the
    weight of a process's share is what makes that the mean over the images of the whole batch.
    """

    #: Ids of the images of each batch, int64 (B,).
    batches: list[Tensor]
    #: Weight of each batch; None: all 1.
    shares: list[float] | None
    #: int64 (N,), which view of each image; None: there is one.
    views: Tensor | None

    def share(self, number: int) -> float | None:
        """Weight of a batch, counted from 0; None: 1."""
        return None if self.shares is None else self.shares[number]


@dataclass(frozen=True)
class DataPlan:
    """The images of a training, and the order in which its processes see them."""

    train: BatchSource
    #: Never augmented, always in table order.
    validation: BatchSource
    batch_size: int
    seed: int = 0
    num_processes: int = 1
    rank: int = 0
    #: Show each class equally often in place of each image once.
    balanced: bool = False

    @cached_property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return steps_per_epoch(self.train.size, self.batch_size)

    def epoch(self, epoch: int) -> EpochPlan:
        """What this process sees in an epoch, counted from 1."""
        generator = Generator().manual_seed(derive_seed(self.seed, "shuffling", epoch))
        if self.balanced:
            batches = balanced_plan(self.train.labels, self.batch_size, generator)
        else:
            batches = shuffled_plan(self.train.size, self.batch_size, generator)
        views = None
        if self.train.num_views > 1:
            views = torch.randint(self.train.num_views, (self.train.size,), generator=generator)
        number, rank = self.num_processes, self.rank
        if number == 1:
            return EpochPlan(batches, None, views)
        own = [ids[rank::number] for ids in batches]
        shares = [len(mine) * number / len(ids) for mine, ids in zip(own, batches, strict=True)]
        # A process with nothing to do takes part with an image of weight 0.
        own = [mine if len(mine) else ids[:1] for mine, ids in zip(own, batches, strict=True)]
        return EpochPlan(own, shares, views)

    def seed_of(self, purpose: str, epoch: int) -> int:
        """A seed for one use in one epoch of this process."""
        return derive_seed(self.seed, f"{purpose} {self.rank}", epoch)
