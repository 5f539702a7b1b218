"""From arrays in memory or on disk to batches on the device.

Images stay uint8 until their batch is made. What fits is copied to memory once; what
does not is gathered from the memory map in a thread, a batch ahead of the training. That
thread runs NumPy only: a PyTorch operator in a second thread starts a second team of OpenMP
threads, and with more of them than cores libgomp puts them all to sleep at every barrier,
which made a training step 1.3 times as long (EfficientNet-Lite2, 2 cores).
Ids of images are shuffled, never batches, and every image is seen once an epoch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.errors import TrainingError
from tellapart.machine import memory_bytes

#: A part of at most this share of the machine's memory is copied there for training.
MEMORY_SHARE = 0.25
#: And of at most this many bytes into a GPU's.
GPU_LIMIT_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Arrays:
    """Images, or features of images, and their labels.

    ``inputs`` is one of
      - uint8 (N, H, W, 3): pixels, RGB; may be a memory map;
      - float (N, ...): features;
      - float (V, N, ...): features of V views of each image; each epoch draws one an image.
    """

    inputs: NDArray[Any]
    #: int64 (N,), index of the class.
    labels: NDArray[np.int64]
    #: Rows of ``inputs`` that are meant, aligned with ``labels``; None: all, in order.
    rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        size = len(self.labels)
        if self.rows is not None:
            if len(self.rows) != size:
                raise ValueError(f"{len(self.rows)} rows but {size} labels")
        elif len(self.inputs) != size and not self.has_views:
            raise ValueError(f"inputs of shape {self.inputs.shape} but {size} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_views(self) -> bool:
        """Whether the first axis of ``inputs`` counts views."""
        shape = self.inputs.shape
        size = len(self.labels)
        return self.rows is None and shape[0] != size and len(shape) > 2 and shape[1] == size

    @property
    def are_images(self) -> bool:
        """Whether ``inputs`` are pixels rather than features."""
        return bool(self.inputs.dtype == np.uint8)


def require_images(parts: Sequence[tuple[str, Arrays]]) -> None:
    """Refuse empty parts.

    Raises:
        TrainingError: a part has no images.
    """
    for name, part in parts:
        if not len(part):
            raise TrainingError(
                f"The {name} part has no images; give each class some, or change the split."
            )


class BatchSource:
    """Batches of one part, as float32 tensors on the device."""

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        self._device = device
        self._images = arrays.are_images
        self.size = len(arrays)
        self.num_views = arrays.inputs.shape[0] if arrays.has_views else 1
        inputs = arrays.inputs
        if arrays.has_views:
            inputs = inputs.reshape(-1, *inputs.shape[2:])
        rows = arrays.rows
        limit = memory_limit_bytes(device)
        self.in_memory = self.size * self.num_views * inputs[0].nbytes <= limit
        self._mapped: NDArray[Any] | None = None
        if self.in_memory:
            if rows is not None:
                inputs, rows = inputs[rows], None
            elif isinstance(inputs, np.memmap):
                inputs = np.array(inputs)
            with warnings.catch_warnings():  # a read-only array: it is only read
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                self._inputs = torch.from_numpy(inputs).to(device)
        else:
            self._mapped = np.asarray(inputs)
        self._rows = None if rows is None else torch.from_numpy(rows)
        self.labels = torch.from_numpy(np.asarray(arrays.labels, dtype=np.int64))
        self._labels = self.labels.to(device)

    def batch(self, ids: Tensor, views: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some images.

        Args:
            ids: int64 (B,), positions in the part.
            views: int64 (size,), which view of each image; None: the first.

        Returns:
            Images float32 (B, 3, H, W), 0..255, channels last in memory, or features
            float32 (B, ...); and labels int64 (B,).
        """
        return self._on_device(self._gathered(ids, views), ids)

    def batches(
        self, plan: Sequence[Tensor], views: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a plan in its order, read ahead where they come from a disk."""
        if self._mapped is None:
            for ids in plan:
                yield self.batch(ids, views)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self._gathered, ids, views) for ids in plan[:2]]
            for number, ids in enumerate(plan):
                if number + 2 < len(plan):
                    ahead.append(reader.submit(self._gathered, plan[number + 2], views))
                yield self._on_device(ahead.pop(0).result(), ids)

    def _gathered(self, ids: Tensor, views: Tensor | None) -> Tensor | NDArray[Any]:
        """The stored inputs of some images; from a memory map by NumPy alone."""
        rows = ids if self._rows is None else self._rows[ids]
        if views is not None:
            rows = views[ids] * self.size + rows
        if self._mapped is not None:
            gathered: NDArray[Any] = self._mapped[rows.numpy()]
            return gathered
        return self._inputs.index_select(0, rows.to(self._inputs.device))

    def _on_device(self, inputs: Tensor | NDArray[Any], ids: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs as ``batch`` gives them, and their labels."""
        if not isinstance(inputs, Tensor):
            inputs = torch.from_numpy(inputs).to(self._device)
        if self._images:
            inputs = inputs.permute(0, 3, 1, 2)
        return inputs.float(), self._labels.index_select(0, ids.to(self._device))


def memory_limit_bytes(device: torch.device) -> int:
    """How large a part may be that is kept in memory: the machine's, or the GPU's."""
    share = int(MEMORY_SHARE * memory_bytes())
    return share if device.type == "cpu" else min(share, GPU_LIMIT_BYTES)


def shuffled_plan(size: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Ids of each batch of an epoch: all images once, in a new order.

    The last batch is as short as it comes, except that one single image joins the batch
    before it, because BatchNorm can say nothing of a single value. Within a batch ids are
    in ascending order, which the gradient does not see and a disk likes.
    """
    return _in_batches(torch.randperm(size, generator=generator), batch_size)


def balanced_plan(labels: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Ids of each batch of an epoch that shows every class equally often (to one image).

    An epoch is as long as one of :func:`shuffled_plan`. Images of a rare class come again only
    when all of it were seen; of a frequent class some are left for later epochs.

    Args:
        labels: int64 (N,), of the images; classes without images are left out.
    """
    order = balanced_order(labels, generator)
    return _in_batches(order[torch.randperm(len(order), generator=generator)], batch_size)


def balanced_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many ids as there are labels, each class equally often, class by class."""
    classes = torch.unique(labels).tolist()
    # Which classes get the images that are left over changes from epoch to epoch.
    extra = set(torch.randperm(len(classes), generator=generator)[: len(labels) % len(classes)]
                .tolist())  # fmt: skip
    drawn = []
    for position, label in enumerate(classes):
        ids = torch.nonzero(labels == label)[:, 0]
        wanted = len(labels) // len(classes) + (position in extra)
        rounds = [ids[torch.randperm(len(ids), generator=generator)]
                  for _ in range(-(-wanted // len(ids)))]  # fmt: skip
        drawn.append(torch.cat(rounds)[:wanted] if rounds else ids[:0])
    return torch.cat(drawn)


def _in_batches(order: Tensor, batch_size: int) -> list[Tensor]:
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 and batch_size > 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return [ids.sort().values for ids in batches]


def ordered_plan(size: int, batch_size: int) -> list[Tensor]:
    """Ids of each batch in table order, for evaluation."""
    return list(torch.split(torch.arange(size), batch_size))


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Number of batches of ``shuffled_plan``."""
    steps = -(-size // batch_size)
    return steps - 1 if steps > 1 and batch_size > 1 and size % batch_size == 1 else steps


def derive_seed(seed: int, purpose: str, epoch: int) -> int:
    """A seed for one use in one epoch, so that an epoch's draws need no history.

    A resumed training draws what an undisturbed one would have drawn, with no random
    state to save.
    """
    words = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
